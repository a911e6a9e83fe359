#include "devices/pci/i6300esb.h"

#include <algorithm>
#include <utility>

#include "vmm/base/bytes.h"

namespace vmm::pci {
namespace {

// Configuration registers.
constexpr uint8_t kConfig = 0x60;
constexpr uint16_t kOutputOff = 1U << 5;
constexpr uint16_t kFast = 1U << 2;  // 1 MHz, not 1 kHz
constexpr uint16_t kConfigBits = kOutputOff | kFast | 0x03;
constexpr uint8_t kLock = 0x68;
constexpr uint8_t kFreeRunning = 1U << 2;
constexpr uint8_t kEnable = 1U << 1;
constexpr uint8_t kLocked = 1U << 0;  // the register does not change any more
constexpr uint8_t kLockBits = kFreeRunning | kEnable | kLocked;

// In the BAR.
constexpr uint64_t kPreload1 = 0x0;
constexpr uint64_t kPreload2 = 0x4;
constexpr uint64_t kReload = 0xc;
constexpr uint32_t kReloadBit = 1U << 8;
constexpr uint32_t kRanOutBit = 1U << 9;
constexpr uint32_t kUnlock1 = 0x80;
constexpr uint32_t kUnlock2 = 0x86;

// The PCI clock's period by what a timer's clock is divided.
constexpr std::chrono::nanoseconds kPciClock(30);
constexpr unsigned kSlowShift = 15;
constexpr unsigned kFastShift = 5;

}  // namespace

I6300Esb::I6300Esb(MonotonicClock clock, Alarm& alarm, std::function<void()> on_expired)
    : PciFunction({.vendor_id = 0x8086, .device_id = 0x25ab, .class_code = 0x08'80'00}),
      on_expired_(std::move(on_expired)),
      countdown_(std::move(clock), alarm, [this] { expired(); }) {
  add_bar(0, {.kind = BarKind::kMemory32, .length_bytes = kBarBytes, .device = &window_});
  const MutexLock lock(config_mutex_);
  config_.define<uint16_t>(kConfig, 0, kConfigBits);
  config_.define<uint8_t>(kLock, 0, kLockBits);
}

uint8_t I6300Esb::lock_register() const {
  const MutexLock lock(config_mutex_);
  return config_.get<uint8_t>(kLock);
}

uint16_t I6300Esb::config_register() const {
  const MutexLock lock(config_mutex_);
  return config_.get<uint16_t>(kConfig);
}

void I6300Esb::write_config(uint8_t offset, std::span<const std::byte> data) {
  const bool is_for_lock = offset <= kLock && kLock - offset < static_cast<int>(data.size());
  if (is_for_lock && (lock_register() & kLocked) != 0) {
    return;
  }
  PciFunction::write_config(offset, data);
  apply_config();
}

void I6300Esb::reset() {
  PciFunction::reset();
  const MutexLock lock(mutex_);
  registers_ = Registers{.has_run_out = registers_.has_run_out};
  countdown_.stop();
}

// The timers begin when they are switched on; what else changes counts from the next reload.
void I6300Esb::apply_config() {
  const MutexLock lock(mutex_);
  const uint8_t value = lock_register();
  const bool is_enabled = (value & kEnable) != 0 && (value & kFreeRunning) == 0;
  if (std::exchange(registers_.is_enabled, is_enabled) == is_enabled) {
    return;
  }
  if (is_enabled) {
    restart();
  } else {
    countdown_.stop();
  }
}

void I6300Esb::restart() {
  const unsigned shift = (config_register() & kFast) != 0 ? kFastShift : kSlowShift;
  const uint64_t ticks = uint64_t{registers_.preloads[0]} + registers_.preloads[1];
  countdown_.start(kPciClock * (ticks << shift));
}

void I6300Esb::expired() {
  const bool has_output = (config_register() & kOutputOff) == 0;
  {
    const MutexLock lock(mutex_);
    registers_.has_run_out = true;
  }
  if (has_output) {
    on_expired_();
  }
}

void I6300Esb::read_register(uint64_t offset, std::span<std::byte> data) {
  std::array<std::byte, kBarBytes> bytes{};
  {
    const MutexLock lock(mutex_);
    store_le<uint32_t>(&bytes[kPreload1], registers_.preloads[0]);
    store_le<uint32_t>(&bytes[kPreload2], registers_.preloads[1]);
    store_le<uint32_t>(&bytes[kReload], registers_.has_run_out ? kRanOutBit : 0);
  }
  for (size_t i = 0; i < data.size(); ++i) {
    data[i] = offset + i < kBarBytes ? bytes[offset + i] : std::byte{0};
  }
}

// A register is written by one access from its first byte on. An access of another kind counts as one that is
// not allowed, and locks again.
void I6300Esb::write_register(uint64_t offset, std::span<const std::byte> data) {
  uint32_t value = 0;
  for (size_t i = 0; i < std::min(data.size(), sizeof value); ++i) {
    value |= std::to_integer<uint32_t>(data[i]) << (8 * i);
  }
  const MutexLock lock(mutex_);
  if (offset == kReload) {
    return write_reload(value);
  }
  const bool is_open = std::exchange(registers_.lock, Lock::kLocked) == Lock::kOpen;
  if (is_open && (offset == kPreload1 || offset == kPreload2)) {
    registers_.preloads[offset / sizeof value] = value & kLongestPreload;
  }
}

void I6300Esb::write_reload(uint32_t value) {
  const Lock lock = std::exchange(registers_.lock, Lock::kLocked);
  if (value == kUnlock1) {
    registers_.lock = Lock::kHalfOpen;
  } else if (value == kUnlock2 && lock == Lock::kHalfOpen) {
    registers_.lock = Lock::kOpen;
  } else if (lock == Lock::kOpen) {
    registers_.has_run_out = registers_.has_run_out && (value & kRanOutBit) == 0;
    if ((value & kReloadBit) != 0 && registers_.is_enabled) {
      restart();
    }
  }
}

}  // namespace vmm::pci
