// The host's hand at CD-ROM drives. What changes a drive is done on its I/O thread, in the order of asking.
#include <utility>

#include "vmm/machine/disks.h"

namespace vmm {

std::vector<Disks::Drive> Disks::drives() const {
  std::vector<Drive> drives;
  drives.reserve(disks_.size());
  for (const Disk& disk : disks_) {
    drives.push_back({.target = disk.wanted->target,
                      .is_cdrom = disk.tray != nullptr,
                      .is_read_only = disk.wanted->read_only,
                      .file = disk.file,
                      .format = disk.format,
                      .tray = disk.tray != nullptr ? disk.tray->status() : ide::CdTray::Status(),
                      .layers = disk.layers,
                      .limits = disk.limits,
                      .counters = disk.counters.get()});
  }
  return drives;
}

Result<Disks::Disk*> Disks::find_cdrom(std::string_view target) {
  const Disk* const found = find(target);
  if (found == nullptr) {
    return fail("the guest has no disk '{}'", target);
  }
  if (found->tray == nullptr) {
    return fail("disk {} is no CD-ROM drive", target);
  }
  return &disks_[static_cast<size_t>(found - disks_.data())];
}

Result<ide::CdTray::Opened> Disks::open_tray(std::string_view target, bool is_forced) {
  VMM_ASSIGN_OR_RETURN(Disk* const disk, find_cdrom(target));
  return disk->tray->open(is_forced);
}

Status Disks::close_tray(std::string_view target) {
  VMM_ASSIGN_OR_RETURN(Disk* const disk, find_cdrom(target));
  disk->tray->close();
  return {};
}

// The drive may be told from within the image, by the end of its last request: that goes when nobody is in
// it.
void Disks::take_out(Disk& disk) {
  disk.file.clear();
  disk.layers.clear();
  disk.tray->remove([&disk] {
    disk.old_media.push_back(std::exchange(disk.medium, {}));
    disk.thread->loop().post([&disk] { disk.old_media.clear(); });
  });
}

Status Disks::remove_disc(std::string_view target) {
  VMM_ASSIGN_OR_RETURN(Disk* const disk, find_cdrom(target));
  if (!disk->tray->status().is_open) {
    return fail("the tray of disk {} is closed; open it first", target);
  }
  take_out(*disk);
  return {};
}

Status Disks::change_disc(std::string_view target, const std::filesystem::path& file,
                          std::optional<domain::ImageFormat> format, bool is_forced) {
  VMM_ASSIGN_OR_RETURN(Disk* const disk, find_cdrom(target));
  domain::Disk wanted = *disk->wanted;
  wanted.source = file;
  wanted.source_type = domain::DiskSource::kFile;
  wanted.data_file.reset();
  wanted.backing_stores.clear();
  wanted.backing_ends = false;
  wanted.format = format.value_or(wanted.format);

  Status opened;
  block::BlockDevice* image = nullptr;
  std::vector<block::DiskLayer> layers;
  disk->thread->run_and_wait([&] {
    auto medium = open_medium(wanted, *disk, static_cast<size_t>(disk - disks_.data()));
    if (!medium) {
      opened = std::unexpected(medium.error());
      return;
    }
    image = medium->image.get();
    layers = std::move(medium->layers);
    disk->next_media.push_back(*std::move(medium));
  });
  VMM_TRY(opened);
  if (disk->tray->open(is_forced) == ide::CdTray::Opened::kGuestAsked) {
    disk->thread->run_and_wait([&] { disk->next_media.pop_back(); });
    return fail(
        "the guest holds the tray of disk {} locked, and was asked to open it; try again, or force it",
        target);
  }
  take_out(*disk);
  disk->tray->insert(*image, [disk] {
    disk->medium = std::move(disk->next_media.front());
    disk->next_media.pop_front();
  });
  disk->tray->close();
  disk->file = file;
  disk->layers = std::move(layers);
  disk->format = wanted.format;
  return {};
}

}  // namespace vmm
