#include "devices/ide/cd_tray.h"

#include <utility>

#include "devices/ide/ide_channel.h"

namespace vmm::ide {

CdTray::Status CdTray::status() const {
  const MutexLock lock(channel_.mutex_);
  const MmcState& mmc = cdrom_.mmc_state();
  return {.has_medium = mmc.has_medium, .is_open = mmc.is_open, .is_locked = mmc.is_locked};
}

CdTray::Opened CdTray::open(bool is_forced) {
  IdeChannel::Effects effects;
  Opened opened = Opened::kOpen;
  {
    const MutexLock lock(channel_.mutex_);
    MmcState& mmc = cdrom_.mmc_state();
    if (mmc.is_locked && !mmc.is_open && !is_forced) {
      request_eject(mmc);
      opened = Opened::kGuestAsked;
    } else {
      open_tray(mmc);
      mmc.is_locked = false;
      cdrom_.interrupt_reads();
    }
    effects = channel_.settle();
  }
  channel_.carry_out(std::move(effects));
  return opened;
}

void CdTray::close() {
  const MutexLock lock(channel_.mutex_);
  close_tray(cdrom_.mmc_state());
}

void CdTray::remove(std::function<void()> on_removed) {
  IdeChannel::Effects effects;
  {
    const MutexLock lock(channel_.mutex_);
    take_medium(cdrom_.mmc_state());
    cdrom_.interrupt_reads();
    effects = channel_.settle();
  }
  channel_.carry_out(std::move(effects));
  channel_.drive_io(drive_).change_disk(nullptr, std::move(on_removed));
}

void CdTray::insert(block::BlockDevice& disk, std::function<void()> on_inserted) {
  const uint32_t blocks = MmcState::blocks_of(disk.size_bytes());
  channel_.drive_io(drive_).change_disk(&disk, [this, blocks, told = std::move(on_inserted)] {
    {
      const MutexLock lock(channel_.mutex_);
      put_medium(cdrom_.mmc_state(), blocks);
    }
    if (told) {
      told();
    }
  });
}

}  // namespace vmm::ide
