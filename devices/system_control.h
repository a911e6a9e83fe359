// The small ports of a PC: reset control (0xcf9), system control port A (0x92), POST code (0x80) and the
// firmware's debug port (0x402). System control port B (0x61) belongs to the timer: the in-kernel PIT has it.
//
// Threads: all methods from any thread; callbacks come on the thread of the vCPU that wrote.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "devices/byte_device.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/core/clock.h"

namespace vmm {

// PIIX3's reset control register (Intel 290550, section 2.5.4), one port wide. It lies inside the four ports
// of PCI's CONFIG_ADDRESS, which takes only 32-bit accesses: whoever answers 0xcf8 hands byte accesses at
// offset 1 on to offset 0 here.
class ResetPort final : public ByteDevice {
 public:
  explicit ResetPort(std::function<void()> on_reset) : on_reset_(std::move(on_reset)) {}
  void reset() VMM_EXCLUDES(mutex_);

 private:
  uint8_t read_byte(uint64_t offset) override VMM_EXCLUDES(mutex_);
  void write_byte(uint64_t offset, uint8_t value) override VMM_EXCLUDES(mutex_);

  const std::function<void()> on_reset_;
  Mutex mutex_;
  uint8_t control_ VMM_GUARDED_BY(mutex_) = 0;
};

// PS/2's system control port A: fast reset, and an A20 gate that is stored and does nothing (A20 is on).
class SystemControlA final : public ByteDevice {
 public:
  explicit SystemControlA(std::function<void()> on_reset) : on_reset_(std::move(on_reset)) {}
  void reset() VMM_EXCLUDES(mutex_);

 private:
  static constexpr uint8_t kFastReset = 0x01;
  static constexpr uint8_t kA20 = 0x02;

  uint8_t read_byte(uint64_t offset) override VMM_EXCLUDES(mutex_);
  void write_byte(uint64_t offset, uint8_t value) override VMM_EXCLUDES(mutex_);

  const std::function<void()> on_reset_;
  Mutex mutex_;
  uint8_t control_ VMM_GUARDED_BY(mutex_) = kA20;
};

// The diagnostic port: keeps the last code. Guests write to it to pass the time.
class PostCode final : public ByteDevice {
 public:
  void reset() VMM_EXCLUDES(mutex_);
  uint8_t last_code() VMM_EXCLUDES(mutex_);

 private:
  uint8_t read_byte(uint64_t offset) override VMM_EXCLUDES(mutex_);
  void write_byte(uint64_t offset, uint8_t value) override VMM_EXCLUDES(mutex_);

  Mutex mutex_;
  uint8_t code_ VMM_GUARDED_BY(mutex_) = 0;
};

// What firmware prints for its developers: lines of at most 200 bytes, at most 1000 in a second (the others
// are counted and the count is printed), anything but printable ASCII as '.'.
class DebugPort final : public ByteDevice {
 public:
  static constexpr size_t kMaxLineBytes = 200;
  static constexpr unsigned kMaxLinesPerSecond = 1000;
  static constexpr uint8_t kPresent = 0xe9;  // what reading gives: the port is there

  using LineSink = std::function<void(std::string_view line)>;

  // The lines go to `sink`, without their ends; see log_firmware_line.
  DebugPort(MonotonicClock clock, LineSink sink) : clock_(std::move(clock)), sink_(std::move(sink)) {}
  void reset() VMM_EXCLUDES(mutex_);

  // A LineSink: the log, at debug level.
  static void log_firmware_line(std::string_view line);

 private:
  uint8_t read_byte(uint64_t offset) override;
  void write_byte(uint64_t offset, uint8_t value) override VMM_EXCLUDES(mutex_);
  std::string take_line(std::chrono::nanoseconds now) VMM_REQUIRES(mutex_);

  const MonotonicClock clock_;
  const LineSink sink_;
  Mutex mutex_;
  std::string line_ VMM_GUARDED_BY(mutex_);
  std::chrono::nanoseconds second_start_ VMM_GUARDED_BY(mutex_){0};
  unsigned lines_in_second_ VMM_GUARDED_BY(mutex_) = 0;
  uint64_t dropped_lines_ VMM_GUARDED_BY(mutex_) = 0;
};

}  // namespace vmm
