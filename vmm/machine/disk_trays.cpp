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
                      .counters = disk.counters.get(),
                      .cache = disk.cache.get()});
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
  const ide::CdTray::Opened opened = disk->tray->open(is_forced);
  tell_tray_moves();
  return opened;
}

Status Disks::close_tray(std::string_view target) {
  VMM_ASSIGN_OR_RETURN(Disk* const disk, find_cdrom(target));
  disk->tray->close();
  tell_tray_moves();
  return {};
}

// Any thread; a guest that moves its tray without end does not fill the loop.
void Disks::note_tray_move() {
  if (!looks_at_trays_soon_.exchange(true)) {
    world_.main_loop.post([this] { tell_tray_moves(); });
  }
}

void Disks::tell_tray_moves() {
  looks_at_trays_soon_ = false;
  for (Disk& disk : disks_) {
    const bool is_open = disk.tray != nullptr && disk.tray->status().is_open;
    if (std::exchange(disk.is_told_open, is_open) != is_open) {
      world_.on_event(
          {.kind = MachineEvent::Kind::kTrayMoved, .disk = disk.wanted->target, .is_tray_open = is_open});
    }
  }
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

Result<Disks::OpenedDisc> Disks::open_disc(Disk& disk, const std::filesystem::path& file,
                                           std::optional<domain::ImageFormat> format) {
  domain::Disk wanted = *disk.wanted;
  wanted.source = file;
  wanted.source_type = domain::DiskSource::kFile;
  wanted.data_file.reset();
  wanted.backing_stores.clear();
  wanted.backing_ends = false;
  wanted.format = format.value_or(wanted.format);

  OpenedDisc disc{.format = wanted.format};
  Status opened;
  disk.thread->run_and_wait([&] {
    auto medium = open_medium(wanted, disk, static_cast<size_t>(&disk - disks_.data()));
    if (!medium) {
      opened = std::unexpected(medium.error());
      return;
    }
    disc.image = medium->image.get();
    disc.layers = std::move(medium->layers);
    disk.next_media.push_back(*std::move(medium));
  });
  VMM_TRY(opened);
  return disc;
}

void Disks::put_in(Disk& disk, const std::filesystem::path& file, OpenedDisc disc) {
  disk.tray->insert(*disc.image, [&disk] {
    disk.medium = std::move(disk.next_media.front());
    disk.next_media.pop_front();
  });
  disk.file = file;
  disk.layers = std::move(disc.layers);
  disk.format = disc.format;
}

Status Disks::insert_disc(std::string_view target, const std::filesystem::path& file,
                          std::optional<domain::ImageFormat> format) {
  VMM_ASSIGN_OR_RETURN(Disk* const disk, find_cdrom(target));
  if (!disk->tray->status().is_open) {
    return fail("the tray of disk {} is closed; open it first", target);
  }
  if (!disk->file.empty()) {
    return fail("there is a disc in disk {}; take it out first", target);
  }
  VMM_ASSIGN_OR_RETURN(OpenedDisc disc, open_disc(*disk, file, format));
  put_in(*disk, file, std::move(disc));
  return {};
}

Status Disks::change_disc(std::string_view target, const std::filesystem::path& file,
                          std::optional<domain::ImageFormat> format, bool is_forced) {
  VMM_ASSIGN_OR_RETURN(Disk* const disk, find_cdrom(target));
  VMM_ASSIGN_OR_RETURN(OpenedDisc disc, open_disc(*disk, file, format));
  const ide::CdTray::Opened opened = disk->tray->open(is_forced);
  tell_tray_moves();
  if (opened == ide::CdTray::Opened::kGuestAsked) {
    disk->thread->run_and_wait([&] { disk->next_media.pop_back(); });
    return fail(
        "the guest holds the tray of disk {} locked, and was asked to open it; try again, or force it",
        target);
  }
  take_out(*disk);
  put_in(*disk, file, std::move(disc));
  disk->tray->close();
  tell_tray_moves();
  return {};
}

}  // namespace vmm
