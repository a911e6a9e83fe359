// Throwaway disks: their overlays, and what is said of them.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "block/image_file.h"
#include "vmm/base/size.h"
#include "vmm/machine/disk_source.h"
#include "vmm/machine/disks.h"
#include "vmm/machine/image_options.h"

namespace vmm {

Status Disks::make_overlay(const domain::Disk& disk, Disk& made) {
  if (disk.is_committed && ::access(disk.source.c_str(), W_OK) != 0) {
    return fail("--commit: {} cannot be written ({}), and so nothing committed to it", disk.source.native(),
                errno_text(errno));
  }
  VMM_ASSIGN_OR_RETURN(const auto file,
                       block::OverlayFile::create(disk.source, overlay_options(domain_.throwaway, disk)));
  budget_->add(file);
  made.overlay = file;
  return {};
}

// What another disk of the guest stands on would change under it.
Status Disks::check_commits() const {
  for (const Disk& disk : disks_) {
    if (!disk.wanted->is_committed) {
      continue;
    }
    const block::FileState& image = disk.files->front();
    const auto stands_on_it = [&](const Disk& other) {
      return &other != &disk && std::ranges::any_of(*other.files, [&](const block::FileState& file) {
        return file.is_same_file(image);
      });
    };
    const auto other = std::ranges::find_if(disks_, stands_on_it);
    if (other != disks_.end()) {
      return fail_configuration(
          "--commit: {}, the image of {}, is part of {} too, which would change with it; leave --commit out, "
          "or give {} another image",
          disk.file.native(), disk.wanted->target, other->wanted->target, other->wanted->target);
    }
  }
  return {};
}

Result<std::vector<ThrowawayDisk>> Disks::throwaway_disks() const {
  std::vector<ThrowawayDisk> found;
  for (const Disk& disk : disks_) {
    if (disk.overlay == nullptr) {
      continue;
    }
    ThrowawayDisk made{.target = disk.wanted->target,
                       .file = disk.overlay,
                       .bytes_at_start = disk.overlay->allocated_bytes(),
                       .kept_as = disk.wanted->kept_as};
    if (disk.wanted->is_committed) {
      VMM_ASSIGN_OR_RETURN(made.base, disk_options(*disk.wanted, world_.secrets));
      if (disk.wanted->source_type == domain::DiskSource::kFile) {
        VMM_ASSIGN_OR_RETURN(made.base->expected, block::state_of_file(disk.wanted->source));
      }
    }
    found.push_back(std::move(made));
  }
  return found;
}

std::optional<Disks::ThrowawaySpace> Disks::throwaway_space() const {
  if (std::ranges::none_of(disks_, [](const Disk& disk) { return disk.overlay != nullptr; })) {
    return std::nullopt;
  }
  const uint64_t limit = budget_->limit_bytes();
  return ThrowawaySpace{
      .used_bytes = budget_->used_bytes(),
      .limit_bytes = limit == block::SpaceBudget::kNoLimit ? std::nullopt : std::optional(limit)};
}

void Disks::set_throwaway_limit(std::optional<uint64_t> bytes) {
  budget_->set_limit(bytes.value_or(block::SpaceBudget::kNoLimit));
}

std::string Disks::reason_for(block::IoStatus status, bool is_throwaway) const {
  if (status != block::IoStatus::kNoSpace) {
    return "the host cannot read or write it";
  }
  if (is_throwaway && budget_->is_limit_reached()) {
    return fmt::format(
        "what the guest wrote takes {}, as much as --ephemeral-limit lets it (vmm ctl {} ephemeral-limit "
        "SIZE raises it)",
        size_text(budget_->used_bytes()), domain_.name);
  }
  return "the host's disk is full";
}

}  // namespace vmm
