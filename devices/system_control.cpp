#include "devices/system_control.h"

#include <utility>

#include "vmm/base/log.h"

namespace vmm {
namespace {

// Reset control register: bit 1 chooses hard or soft, the rise of bit 2 resets; both are a reset of the whole
// machine here. Bit 3 (full reset) is later chipsets'.
constexpr uint8_t kResetCpu = 0x04;
constexpr uint8_t kResetControlMask = 0x0e;

}  // namespace

void ResetPort::reset() {
  const MutexLock lock(mutex_);
  control_ = 0;
}

uint8_t ResetPort::read_byte(uint64_t /*offset*/) {
  const MutexLock lock(mutex_);
  return control_;
}

void ResetPort::write_byte(uint64_t /*offset*/, uint8_t value) {
  bool is_reset = false;
  {
    const MutexLock lock(mutex_);
    is_reset = (value & kResetCpu) != 0 && (control_ & kResetCpu) == 0;
    control_ = value & kResetControlMask;
  }
  if (is_reset) {
    on_reset_();
  }
}

void SystemControlA::reset() {
  const MutexLock lock(mutex_);
  control_ = kA20;
}

uint8_t SystemControlA::read_byte(uint64_t /*offset*/) {
  const MutexLock lock(mutex_);
  return control_;
}

void SystemControlA::write_byte(uint64_t /*offset*/, uint8_t value) {
  bool is_reset = false;
  {
    const MutexLock lock(mutex_);
    is_reset = (value & kFastReset) != 0 && (control_ & kFastReset) == 0;
    control_ = value & (kFastReset | kA20);
  }
  if (is_reset) {
    on_reset_();
  }
}

void PostCode::reset() {
  const MutexLock lock(mutex_);
  code_ = 0;
}

uint8_t PostCode::last_code() {
  const MutexLock lock(mutex_);
  return code_;
}

uint8_t PostCode::read_byte(uint64_t /*offset*/) { return last_code(); }

void PostCode::write_byte(uint64_t /*offset*/, uint8_t value) {
  const MutexLock lock(mutex_);
  code_ = value;
}

void DebugPort::reset() {
  const MutexLock lock(mutex_);
  line_.clear();
}

void DebugPort::log_firmware_line(std::string_view line) {
  if (log::enabled(log::Level::kDebug, log::Component::kFirmware)) {
    log::write(log::Level::kDebug, log::Component::kFirmware, fmt::format("firmware: {}", line));
  }
}

uint8_t DebugPort::read_byte(uint64_t /*offset*/) { return kPresent; }

void DebugPort::write_byte(uint64_t /*offset*/, uint8_t value) {
  const auto now = clock_();
  std::string line;
  {
    const MutexLock lock(mutex_);
    if (value == '\r') {
      return;
    }
    if (value != '\n') {
      const bool is_printable = value >= ' ' && value <= '~';
      line_.push_back(is_printable ? static_cast<char>(value) : '.');
      if (line_.size() < kMaxLineBytes) {
        return;
      }
    }
    line = take_line(now);
  }
  if (!line.empty()) {
    sink_(line);
  }
}

// Nothing where the line is over this second's limit, or empty.
std::string DebugPort::take_line(std::chrono::nanoseconds now) {
  std::string line = std::exchange(line_, {});
  if (now - second_start_ >= std::chrono::seconds(1)) {
    second_start_ = now;
    lines_in_second_ = 0;
  }
  if (line.empty()) {
    return line;
  }
  if (lines_in_second_ == kMaxLinesPerSecond) {
    ++dropped_lines_;
    return {};
  }
  ++lines_in_second_;
  if (const uint64_t dropped = std::exchange(dropped_lines_, 0); dropped > 0) {
    line = fmt::format("({} lines dropped) {}", dropped, line);
  }
  return line;
}

}  // namespace vmm
