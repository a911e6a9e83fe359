// CmosRtc: the real-time clock and its 128 bytes of battery-backed memory (Motorola MC146818A), at two ports:
// index (bit 7 masks NMI, stored only) and data.
//
// All modes: BCD and binary, 12 and 24 hours, SET, divider reset, alarm, periodic and update-ended
// interrupts, century in byte 0x32. Flags are brought up to date when register C is read, and by the Alarm
// while one of the interrupts is enabled; with none enabled no host timer runs. Not there: daylight saving
// (DSE is stored), the square wave.
//
// Threads: all methods from any thread; the alarm's handler on its loop's thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "devices/byte_device.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/core/alarm.h"
#include "vmm/core/clock.h"
#include "vmm/core/line_driver.h"

namespace vmm {

// What firmware reads out of the memory about the machine.
struct CmosContents {
  uint64_t low_memory_bytes = 0;   // guest memory below 4 GiB
  uint64_t high_memory_bytes = 0;  // and above
  uint8_t cpu_count = 1;
  // The three boot choices of bytes 0x3d and 0x38 (1 floppy, 2 hard disk, 3 CD-ROM, 4 network; 0 none), first
  // choice first.
  std::array<uint8_t, 3> boot_order{};
  // How firmware is to make the cylinders of INT 13h out of an IDE disk's own: 0 as they are, 1 LBA. Two bits
  // for each drive, from channel 0's master up.
  uint8_t disk_translations = 0;
};

class CmosRtc final : public ByteDevice {
 public:
  static constexpr uint64_t kPorts = 2;

  // clock: what the guest's clock is to show (civil time since 1970-01-01 00:00:00) until the guest sets it:
  // host_wall_clock() for UTC, else with the zone's or the user's offset added. The alarm must outlive this
  // device.
  CmosRtc(InterruptLine& line, WallClock clock, Alarm& alarm, const CmosContents& contents);

  // A reset of the machine: the control registers as firmware leaves them (running, 24 hours, BCD, no
  // interrupt), the machine's description written anew. Time and other memory stay, being battery-backed.
  void reset() VMM_EXCLUDES(mutex_);

  bool is_nmi_masked() VMM_EXCLUDES(mutex_);

 private:
  static constexpr size_t kBytes = 128;

  // Microseconds, because a guest may set any year from 0 to 25,665.
  using Time = std::chrono::microseconds;

  struct Registers {
    uint8_t index = 0;                     // with bit 7
    std::array<uint8_t, kBytes> memory{};  // the time's bytes are valid only while the clock stands
    Time offset{0};                        // the guest's time minus the host's
    Time seen{0};                          // the guest's time up to which flags are accounted for
  };

  uint8_t read_byte(uint64_t offset) override VMM_EXCLUDES(mutex_);
  void write_byte(uint64_t offset, uint8_t value) override VMM_EXCLUDES(mutex_);

  uint8_t read_memory(uint8_t index) VMM_REQUIRES(mutex_);
  void write_memory(uint8_t index, uint8_t value) VMM_REQUIRES(mutex_);
  void write_time(uint8_t index, uint8_t value) VMM_REQUIRES(mutex_);
  void write_register_a(uint8_t value) VMM_REQUIRES(mutex_);
  void write_register_b(uint8_t value) VMM_REQUIRES(mutex_);
  uint8_t read_register_a() const VMM_REQUIRES(mutex_);
  uint8_t read_register_c() VMM_REQUIRES(mutex_);

  bool is_divider_reset() const VMM_REQUIRES(mutex_);
  bool is_stopped() const VMM_REQUIRES(mutex_);
  Time guest_time() const VMM_REQUIRES(mutex_);
  void set_guest_time(Time time) VMM_REQUIRES(mutex_);
  void start_or_stop(bool was_stopped) VMM_REQUIRES(mutex_);

  // The time's bytes, in the mode that register B says.
  void store_time() VMM_REQUIRES(mutex_);
  Time stored_time() const VMM_REQUIRES(mutex_);
  uint8_t encoded(unsigned value) const VMM_REQUIRES(mutex_);
  unsigned decoded(uint8_t value) const VMM_REQUIRES(mutex_);
  uint8_t encoded_hour(unsigned hour) const VMM_REQUIRES(mutex_);
  unsigned decoded_hour(uint8_t value) const VMM_REQUIRES(mutex_);

  uint8_t pending_flags() const VMM_REQUIRES(mutex_);
  void account() VMM_REQUIRES(mutex_);
  unsigned periodic_rate_hz() const VMM_REQUIRES(mutex_);
  std::optional<Time> next_periodic_after(Time time) const VMM_REQUIRES(mutex_);
  std::optional<Time> next_alarm_after(Time time) const VMM_REQUIRES(mutex_);
  std::optional<Time> next_interrupt() const VMM_REQUIRES(mutex_);
  void finish_access() VMM_REQUIRES(mutex_);
  void publish() VMM_EXCLUDES(mutex_);

  void describe_machine() VMM_REQUIRES(mutex_);
  void on_alarm() VMM_EXCLUDES(mutex_);
  Time host_time() const;

  // Constant after construction.
  const WallClock clock_;
  const CmosContents contents_;
  Alarm& alarm_;

  LineDriver line_;
  Mutex mutex_;
  Registers registers_ VMM_GUARDED_BY(mutex_);
  Time now_ VMM_GUARDED_BY(mutex_){0};  // the host's time at the present access

  // The alarm is set without the mutex, by one thread at a time, until it is as planned.
  std::optional<Time> planned_ VMM_GUARDED_BY(mutex_);  // by the host's time
  uint64_t plan_number_ VMM_GUARDED_BY(mutex_) = 0;
  uint64_t armed_number_ VMM_GUARDED_BY(mutex_) = 0;
  bool is_arming_ VMM_GUARDED_BY(mutex_) = false;
};

}  // namespace vmm
