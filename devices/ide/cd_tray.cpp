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
  IdeChannel::Effects effects;
  {
    const MutexLock lock(channel_.mutex_);
    close_tray(cdrom_.mmc_state());
    effects = channel_.settle();
  }
  channel_.carry_out(std::move(effects));
}

bool CdTray::has_moved() {
  const bool is_open = cdrom_.mmc_state().is_open;
  return std::exchange(was_open_, is_open) != is_open;
}

void CdTray::tell_moved() const {
  if (on_moved_) {
    on_moved_();
  }
}

void CdTray::remove(std::function<void()> on_removed) {
  IdeChannel::Effects effects;
  uint64_t void_jobs = 0;
  {
    const MutexLock lock(channel_.mutex_);
    ++removals_;
    take_medium(cdrom_.mmc_state());
    cdrom_.interrupt_reads();
    void_jobs = cdrom_.state().job_number;
    effects = channel_.settle();
  }
  channel_.carry_out(std::move(effects));
  channel_.drive_io(drive_).change_disk(nullptr, void_jobs, std::move(on_removed));
}

void CdTray::insert(block::BlockDevice& disk, std::function<void()> on_inserted) {
  const uint32_t blocks = MmcState::blocks_of(disk.size_bytes());
  uint64_t removals = 0;
  {
    const MutexLock lock(channel_.mutex_);
    removals = removals_;
  }
  const uint64_t void_jobs = 0;  // the removal before has stopped them all, and an empty drive begins none
  channel_.drive_io(drive_).change_disk(&disk, void_jobs,
                                        [this, blocks, removals, told = std::move(on_inserted)] {
                                          {
                                            const MutexLock lock(channel_.mutex_);
                                            if (removals == removals_) {
                                              put_medium(cdrom_.mmc_state(), blocks);
                                            }
                                          }
                                          if (told) {
                                            told();
                                          }
                                        });
}

}  // namespace vmm::ide
