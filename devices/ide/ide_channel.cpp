#include "devices/ide/ide_channel.h"

#include <algorithm>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::ide {
namespace {

constexpr size_t kControl = IdeChannel::kCommandPorts;  // alternate status, device control

}  // namespace

IdeChannel::IdeChannel(InterruptLine& line, const GuestMemory& memory)
    : memory_(memory), line_(line), bus_master_(memory_) {}

IdeChannel::~IdeChannel() = default;

void IdeChannel::attach_disk(uint8_t drive, std::unique_ptr<IdeDrive> made, EventLoop& loop,
                             block::BlockDevice& disk) {
  VMM_CHECK(drive < kDrivesPerChannel && seats_[drive] == nullptr, "no place for an IDE drive");
  made->hardware_reset();
  seats_[drive] = std::make_unique<Seat>(*this, std::move(made), loop, &disk);
}

CdTray& IdeChannel::attach_cdrom(uint8_t drive, std::unique_ptr<AtapiDrive> made, EventLoop& loop,
                                 block::BlockDevice* medium) {
  VMM_CHECK(drive < kDrivesPerChannel && seats_[drive] == nullptr, "no place for an IDE drive");
  AtapiDrive& cdrom = *made;
  if (medium != nullptr) {
    put_medium(cdrom.mmc_state(), MmcState::blocks_of(medium->size_bytes()));
  }
  cdrom.hardware_reset();
  seats_[drive] = std::make_unique<Seat>(*this, std::move(made), loop, medium);
  return seats_[drive]->tray.emplace(*this, drive, cdrom);
}

DriveIo& IdeChannel::drive_io(uint8_t drive) { return seats_[drive]->io; }

IdeDrive* IdeChannel::selected() const {
  const auto& seat = seats_[state_.is_device_1_selected ? 1 : 0];
  return seat == nullptr ? nullptr : seat->drive.get();
}

uint8_t IdeChannel::read_register(size_t offset) {
  IdeDrive* drive = selected();
  if (drive == nullptr) {
    return 0;
  }
  if (offset == kControl) {
    return drive->read_register(reg::kStatus, false);
  }
  if (offset == reg::kStatus) {
    drive->acknowledge();  // section 5.8.4: reading it negates INTRQ
  }
  return drive->read_register(offset, state_.shows_previous);
}

void IdeChannel::write_register(size_t offset, uint8_t value) {
  if (offset == kControl) {
    return write_control(value);
  }
  state_.shows_previous = false;  // section 5.5.3
  if (offset == reg::kCommand) {
    return write_command(value);
  }
  // A device that is busy does not listen; the other one is not to be selected behind its back.
  if (const IdeDrive* drive = selected(); drive != nullptr && drive->is_busy()) {
    return;
  }
  for (const auto& seat : seats_) {
    if (seat != nullptr) {
      seat->drive->write_register(offset, value);
    }
  }
  if (offset == reg::kDevice) {
    state_.is_device_1_selected = (value & device_bit::kDevice1) != 0;
  }
}

void IdeChannel::write_control(uint8_t value) {
  state_.is_interrupt_disabled = (value & control_bit::kNoInterrupts) != 0;
  state_.shows_previous = (value & control_bit::kHighOrderByte) != 0;
  const bool is_reset = (value & control_bit::kSoftwareReset) != 0;
  const bool was_reset = std::exchange(state_.is_in_reset, is_reset);
  if (is_reset == was_reset) {
    return;
  }
  for (const auto& seat : seats_) {
    if (seat == nullptr) {
      continue;
    }
    if (is_reset) {
      seat->drive->hold_in_reset();
    } else {
      seat->drive->leave_reset();
    }
  }
  state_.is_device_1_selected = false;
}

void IdeChannel::write_command(uint8_t code) {
  if (state_.is_in_reset) {
    return;
  }
  IdeDrive* drive = selected();
  if (code == command::kExecuteDeviceDiagnostic) {
    return diagnose();  // both devices carry it out, whichever is selected
  }
  if (drive == nullptr) {
    return;
  }
  // Section 6.10: DEVICE RESET is for a device that hangs; all others wait for BSY and DRQ to go.
  const bool breaks_in = code == command::kDeviceReset && drive->is_packet_device();
  if (!breaks_in && (drive->is_busy() || drive->wants_data())) {
    return;
  }
  drive->acknowledge();
  update_line();  // an interrupt that follows at once is an edge of its own
  drive->start_command(code);
}

// ATA/ATAPI-7 volume 1, section 6.12: device 0 reports for both, and interrupts.
void IdeChannel::diagnose() {
  for (const auto& seat : seats_) {
    if (seat != nullptr && (seat->drive->is_busy() || seat->drive->wants_data())) {
      return;
    }
  }
  for (const auto& seat : seats_) {
    if (seat != nullptr) {
      seat->drive->acknowledge();
      seat->drive->diagnose();
    }
  }
  update_line();
  state_.is_device_1_selected = false;
  if (IdeDrive* drive = selected(); drive != nullptr) {
    drive->raise_interrupt();
  }
}

// Moves what can be moved. It ends: the engine stops, or the drive has to wait for its disk.
void IdeChannel::move_dma(IdeDrive& drive) {
  while (bus_master_.is_active() && drive.dma() != DmaWish::kNone) {
    const std::span<std::byte> window = drive.dma_window();
    const BusMaster::Moved moved = drive.dma() == DmaWish::kToMemory
                                       ? bus_master_.to_memory(window, may_master_)
                                       : bus_master_.from_memory(window, may_master_);
    if (moved.has_failed) {
      return drive.dma_failed();
    }
    drive.dma_moved(moved.bytes);
  }
}

void IdeChannel::update_line() {
  const IdeDrive* drive = selected();
  const bool level = drive != nullptr && drive->is_interrupting() && !state_.is_interrupt_disabled;
  if (level && !state_.line) {
    bus_master_.note_interrupt();
  }
  state_.line = level;
  line_.request(level);
}

IdeChannel::Effects IdeChannel::settle() {
  Effects effects;
  for (size_t i = 0; i < seats_.size(); ++i) {
    if (seats_[i] != nullptr) {
      move_dma(*seats_[i]->drive);
      effects.jobs[i] = seats_[i]->drive->take_job();
      effects.moved_trays[i] = seats_[i]->tray && seats_[i]->tray->has_moved();
    }
  }
  update_line();
  return effects;
}

void IdeChannel::carry_out(Effects effects) {
  line_.publish();
  for (size_t i = 0; i < effects.jobs.size(); ++i) {
    if (effects.jobs[i]) {
      seats_[i]->io.start(*std::move(effects.jobs[i]));
    }
    if (effects.moved_trays[i]) {
      seats_[i]->tray->tell_moved();
    }
  }
}

void IdeChannel::Seat::job_done(DiskJob job, block::IoStatus status) {
  Effects effects;
  {
    const MutexLock lock(channel.mutex_);
    drive->job_done(std::move(job), status);
    effects = channel.settle();
  }
  channel.carry_out(std::move(effects));
}

void IdeChannel::read_data(std::span<std::byte> data) {
  Effects effects;
  {
    const MutexLock lock(mutex_);
    IdeDrive* drive = selected();
    if (drive == nullptr) {
      std::ranges::fill(data, std::byte{0});
      return;
    }
    if (!drive->read_data(data)) {
      return;  // a string instruction reads hundreds of words: nothing else happens between them
    }
    effects = settle();
  }
  carry_out(std::move(effects));
}

void IdeChannel::write_data(std::span<const std::byte> data) {
  Effects effects;
  {
    const MutexLock lock(mutex_);
    IdeDrive* drive = selected();
    if (drive == nullptr || !drive->write_data(data)) {
      return;
    }
    effects = settle();
  }
  carry_out(std::move(effects));
}

void IdeChannel::Ports::read(uint64_t offset, std::span<std::byte> data) {
  if (!channel_.is_decoded_) {
    std::ranges::fill(data, std::byte{0xff});
    return;
  }
  const size_t first = first_register_ + static_cast<size_t>(offset);
  if (first == reg::kData) {
    return channel_.read_data(data);
  }
  Effects effects;
  {
    const MutexLock lock(channel_.mutex_);
    for (size_t i = 0; i < data.size(); ++i) {
      data[i] = std::byte{channel_.read_register(first + i)};
    }
    effects = channel_.settle();
  }
  channel_.carry_out(std::move(effects));
}

void IdeChannel::Ports::write(uint64_t offset, std::span<const std::byte> data) {
  if (!channel_.is_decoded_) {
    return;
  }
  const size_t first = first_register_ + static_cast<size_t>(offset);
  if (first == reg::kData) {
    return channel_.write_data(data);
  }
  Effects effects;
  {
    const MutexLock lock(channel_.mutex_);
    for (size_t i = 0; i < data.size(); ++i) {
      channel_.write_register(first + i, std::to_integer<uint8_t>(data[i]));
    }
    effects = channel_.settle();
  }
  channel_.carry_out(std::move(effects));
}

uint8_t IdeChannel::read_bus_master(size_t offset) {
  const MutexLock lock(mutex_);
  return bus_master_.read(offset);
}

void IdeChannel::write_bus_master(size_t offset, uint8_t value) {
  Effects effects;
  {
    const MutexLock lock(mutex_);
    bus_master_.write(offset, value);
    effects = settle();
  }
  carry_out(std::move(effects));
}

void IdeChannel::reset() {
  Effects effects;
  {
    const MutexLock lock(mutex_);
    for (const auto& seat : seats_) {
      if (seat != nullptr) {
        seat->drive->hardware_reset();
      }
    }
    bus_master_.reset();
    state_ = State{.line = state_.line};
    effects = settle();
  }
  carry_out(std::move(effects));
}

IdeChannel::State IdeChannel::state() const {
  const MutexLock lock(mutex_);
  return state_;
}

}  // namespace vmm::ide
