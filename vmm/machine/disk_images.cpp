// The images of disks, for who changes them while the guest runs.
#include <algorithm>
#include <filesystem>
#include <system_error>

#include "vmm/base/log.h"
#include "vmm/machine/disks.h"

namespace vmm {
namespace {

bool is_same_file(const std::string& one, const std::string& other) {
  std::error_code error;
  return one == other || std::filesystem::equivalent(one, other, error);
}

}  // namespace

Result<Disks::Live> Disks::live_disk(std::string_view target, LiveUse use) const {
  const Disk* const disk = find(target);
  if (disk == nullptr) {
    return fail("the guest has no disk '{}'", target);
  }
  if (disk->medium.live == nullptr) {
    return fail("{} is a CD-ROM drive; this is done to disks only", target);
  }
  if (use == LiveUse::kImage && disk->overlay != nullptr) {
    return fail(
        "disk {} is throwaway: what the guest writes is in a file without a name, on which nothing can "
        "stand",
        target);
  }
  if (use == LiveUse::kImage && disk->wanted->read_only) {
    return fail("disk {} is read-only", target);
  }
  if (use == LiveUse::kImage && disk->wanted->shareable) {
    return fail("disk {} is shared with others (<shareable/>), who would not know of the change", target);
  }
  return Live{.thread = disk->thread, .disk = disk->medium.live};
}

Status Disks::check_size(std::string_view target, uint64_t size_bytes) const {
  const uint32_t block = std::max<uint32_t>(find(target)->wanted->logical_block_bytes, block::kSectorBytes);
  if (size_bytes == 0 || size_bytes % block != 0) {
    return fail("{} bytes: a disk has a multiple of {} bytes, the guest's blocks", size_bytes, block);
  }
  return {};
}

Status Disks::check_unused(std::string_view target, const std::vector<block::DiskLayer>& layers, uint32_t top,
                           uint32_t base) const {
  for (const Disk& other : disks_) {
    if (other.wanted->target == target) {
      continue;
    }
    for (uint32_t i = top; i <= base && i < layers.size(); ++i) {
      const auto uses_it = [&](const block::DiskLayer& layer) {
        return is_same_file(layer.path, layers[i].path);
      };
      if (std::ranges::any_of(other.layers, uses_it)) {
        return fail("{} is part of disk {} too, which would change with it", layers[i].path,
                    other.wanted->target);
      }
    }
  }
  return {};
}

void Disks::note_image(std::string_view target, const std::vector<block::DiskLayer>& layers) {
  Disk& disk = disks_[static_cast<size_t>(find(target) - disks_.data())];
  disk.layers = layers;
  if (disk.overlay == nullptr && !layers.empty()) {
    disk.file = layers.front().path;
    disk.format = layers.front().format == block::Format::kQcow2 ? domain::ImageFormat::kQcow2
                                                                 : domain::ImageFormat::kRaw;
  }
}

void Disks::tell_size(std::string_view target) const {
  const Disk& disk = *find(target);
  if (disk.device != nullptr) {
    disk.virtio.core().config_changed();
  }
}

void Disks::warn_of_other_images() const {
  for (const Disk& disk : disks_) {
    if (disk.tray == nullptr && !disk.file.empty() && !is_same_file(disk.file, disk.wanted->source)) {
      log::warning(
          "disk {}: what the guest has now is in {}, and the domain file says {}: name the first one "
          "there before the guest is started again",
          disk.wanted->target, disk.file.native(), disk.wanted->source.native());
    }
  }
}

}  // namespace vmm
