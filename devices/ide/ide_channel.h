// IdeChannel: two places for drives that share registers, an interrupt wire and a DMA engine (ATA/ATAPI-7
// volume 2, sections 5 and 9).
//
// An absent drive reads as zero beside a present one, and so does a channel without drives: a status of 00h
// is what drivers take as "nobody there" (section 9.16.2 asks for it).
//
// Threads: attach() while building; registers and trays from any thread. A drive's disk is touched on its
// loop only, through DriveIo; results come back on that thread and take the channel's mutex like a register
// access. No job, line or callback is touched while the mutex is held.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "block/block_device.h"
#include "devices/ide/atapi_drive.h"
#include "devices/ide/bus_master.h"
#include "devices/ide/cd_tray.h"
#include "devices/ide/drive_io.h"
#include "devices/ide/ide_drive.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/interrupt.h"
#include "vmm/core/io_bus.h"
#include "vmm/core/line_driver.h"

namespace vmm::ide {

inline constexpr uint8_t kDrivesPerChannel = 2;

class IdeChannel {
 public:
  static constexpr uint64_t kCommandPorts = 8;  // at 1F0h or 170h
  static constexpr uint64_t kControlPorts = 1;  // at 3F6h or 376h

  struct State {
    bool is_device_1_selected = false;
    bool is_interrupt_disabled = false;  // nIEN
    bool is_in_reset = false;            // SRST
    bool shows_previous = false;         // HOB
    bool line = false;
  };

  IdeChannel(InterruptLine& line, const GuestMemory& memory);
  ~IdeChannel();
  IdeChannel(const IdeChannel&) = delete;
  IdeChannel& operator=(const IdeChannel&) = delete;

  // Puts a drive in its place. disk: null for an empty CD drive, else it outlives the channel, or its
  // replacement. REQUIRES: drive < kDrivesPerChannel, its place is free, no vCPU and no loop runs.
  void attach_disk(uint8_t drive, std::unique_ptr<IdeDrive> made, EventLoop& loop, block::BlockDevice& disk);
  // The tray lives as long as the channel.
  CdTray& attach_cdrom(uint8_t drive, std::unique_ptr<AtapiDrive> made, EventLoop& loop,
                       block::BlockDevice* medium);
  bool has_drive(uint8_t drive) const { return seats_[drive] != nullptr; }
  // The half of a drive on the I/O thread, to be quiesced before a reset. REQUIRES: has_drive(drive).
  DriveIo& drive_io(uint8_t drive);

  // Off: the ports answer all ones and take nothing.
  void set_decoding(bool is_decoded) { is_decoded_ = is_decoded; }
  void set_bus_mastering(bool may_master) { may_master_ = may_master; }

  BusDevice& command_block() { return command_ports_; }
  BusDevice& control_block() { return control_ports_; }
  uint8_t read_bus_master(size_t offset) VMM_EXCLUDES(mutex_);
  void write_bus_master(size_t offset, uint8_t value) VMM_EXCLUDES(mutex_);

  // Power-on. What is in flight is let run out and forgotten.
  void reset() VMM_EXCLUDES(mutex_);

  State state() const VMM_EXCLUDES(mutex_);

 private:
  friend class CdTray;

  class Ports final : public BusDevice {
   public:
    Ports(IdeChannel& channel, size_t first_register) : channel_(channel), first_register_(first_register) {}
    void read(uint64_t offset, std::span<std::byte> data) override;
    void write(uint64_t offset, std::span<const std::byte> data) override;

   private:
    IdeChannel& channel_;
    size_t first_register_;
  };

  struct Seat final : DriveIo::Client {
    Seat(IdeChannel& owner, std::unique_ptr<IdeDrive> made, EventLoop& loop, block::BlockDevice* disk)
        : channel(owner), drive(std::move(made)), io(loop, disk, *this) {}
    void job_done(DiskJob job, block::IoStatus status) override;

    IdeChannel& channel;
    const std::unique_ptr<IdeDrive> drive;  // its state is guarded by the channel's mutex
    std::optional<CdTray> tray;             // of a CD-ROM drive
    DriveIo io;
  };

  // What is to be done outside when the mutex is free again.
  struct Effects {
    std::array<std::optional<DiskJob>, kDrivesPerChannel> jobs;
    std::array<bool, kDrivesPerChannel> moved_trays{};
  };

  uint8_t read_register(size_t offset) VMM_REQUIRES(mutex_);
  void write_register(size_t offset, uint8_t value) VMM_REQUIRES(mutex_);
  void read_data(std::span<std::byte> data) VMM_EXCLUDES(mutex_);
  void write_data(std::span<const std::byte> data) VMM_EXCLUDES(mutex_);
  void write_control(uint8_t value) VMM_REQUIRES(mutex_);
  void write_command(uint8_t code) VMM_REQUIRES(mutex_);
  void diagnose() VMM_REQUIRES(mutex_);

  IdeDrive* selected() const VMM_REQUIRES(mutex_);
  void select_device_0() VMM_REQUIRES(mutex_);
  void move_dma(IdeDrive& drive) VMM_REQUIRES(mutex_);
  void update_line() VMM_REQUIRES(mutex_);
  Effects settle() VMM_REQUIRES(mutex_);
  void carry_out(Effects effects) VMM_EXCLUDES(mutex_);

  const GuestMemory& memory_;
  LineDriver line_;
  std::atomic<bool> is_decoded_{false};
  std::atomic<bool> may_master_{false};
  Ports command_ports_{*this, 0};
  Ports control_ports_{*this, kCommandPorts};
  // Constant after building.
  std::array<std::unique_ptr<Seat>, kDrivesPerChannel> seats_;

  mutable Mutex mutex_;
  State state_ VMM_GUARDED_BY(mutex_);
  BusMaster bus_master_ VMM_GUARDED_BY(mutex_);
};

}  // namespace vmm::ide
