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
};

class CmosRtc final : public ByteDevice {
 public:
  static constexpr uint64_t kPorts = 2;

  // clock: what the guest's clock is to show (civil time since 1970-01-01 00:00:00) until the guest sets it:
  // host_wall_clock() for UTC, else with the zone's or the user's offset added. The alarm must outlive this
  // device.
  CmosRtc(InterruptLine& line, WallClock clock, Alarm& alarm, const CmosContents& contents);

  // The RESET pin (MC146818A, section "RESET"): interrupts off, flags cleared; time and memory stay, being
  // battery-backed. The machine's description is written anew.
  void reset() VMM_EXCLUDES(mutex_);

  bool is_nmi_masked() VMM_EXCLUDES(mutex_);

 private:
  static constexpr size_t kBytes = 128;

  struct Registers {
    uint8_t index = 0;                     // with bit 7
    std::array<uint8_t, kBytes> memory{};  // time bytes are valid only while the clock stands
    std::chrono::nanoseconds offset{0};    // the guest's time minus the clock's
    std::chrono::nanoseconds seen{0};      // the guest's time up to which flags are accounted for
    std::chrono::nanoseconds phase{0};     // while the clock stands: its position within the second
  };

  uint8_t read_byte(uint64_t offset) override VMM_EXCLUDES(mutex_);
  void write_byte(uint64_t offset, uint8_t value) override VMM_EXCLUDES(mutex_);

  uint8_t read_memory(uint8_t index) VMM_REQUIRES(mutex_);
  void write_memory(uint8_t index, uint8_t value) VMM_REQUIRES(mutex_);
  void write_time(uint8_t index, uint8_t value) VMM_REQUIRES(mutex_);
  void write_control(uint8_t index, uint8_t value) VMM_REQUIRES(mutex_);
  uint8_t read_flags() VMM_REQUIRES(mutex_);

  bool is_stopped() const VMM_REQUIRES(mutex_);
  std::chrono::nanoseconds guest_time() const VMM_REQUIRES(mutex_);
  void store_time(std::chrono::nanoseconds time) VMM_REQUIRES(mutex_);
  std::chrono::nanoseconds stored_time() const VMM_REQUIRES(mutex_);
  void account() VMM_REQUIRES(mutex_);
  void plan_alarm() VMM_REQUIRES(mutex_);
  std::chrono::nanoseconds period() const VMM_REQUIRES(mutex_);
  std::optional<std::chrono::nanoseconds> next_alarm_after(std::chrono::nanoseconds time) const
      VMM_REQUIRES(mutex_);
  void request_line() VMM_REQUIRES(mutex_);
  void describe_machine() VMM_REQUIRES(mutex_);
  void on_alarm() VMM_EXCLUDES(mutex_);

  // Constant after construction.
  const WallClock clock_;
  const CmosContents contents_;
  Alarm& alarm_;

  LineDriver line_;
  Mutex mutex_;
  Registers registers_ VMM_GUARDED_BY(mutex_);
};

}  // namespace vmm
