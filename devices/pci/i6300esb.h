// I6300Esb: the watchdog of Intel's 6300ESB I/O controller hub as a PCI function of its own, with one memory
// BAR (Intel 300641, chapter 16; Linux, drivers/watchdog/i6300esb.c).
//
// Two timers run one after the other; when the second has run out, and the driver has not switched the output
// off, on_expired is called. Registers change only after the unlock sequence. Not there: what the end of the
// first timer may do (interrupts, SMI), and the free-running mode, in which nothing runs out.
//
// Threads: configuration and registers from vCPU threads; on_expired comes on the alarm's thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "devices/countdown.h"
#include "devices/pci/pci_function.h"
#include "devices/register_window.h"
#include "vmm/base/thread_annotations.h"

namespace vmm::pci {

class I6300Esb final : public PciFunction {
 public:
  static constexpr uint64_t kBarBytes = 16;

  I6300Esb(MonotonicClock clock, Alarm& alarm, std::function<void()> on_expired);

  void write_config(uint8_t offset, std::span<const std::byte> data) override VMM_EXCLUDES(mutex_);
  // Keeps the mark that the watchdog has run out, by which the system that starts learns why it does.
  void reset() override VMM_EXCLUDES(mutex_);

  Countdown& countdown() { return countdown_; }

 private:
  static constexpr uint32_t kLongestPreload = 0xf'ffff;  // 20 bits

  enum class Lock : uint8_t { kLocked, kHalfOpen, kOpen };
  struct Registers {
    std::array<uint32_t, 2> preloads = {kLongestPreload, kLongestPreload};
    Lock lock = Lock::kLocked;
    bool has_run_out = false;
    bool is_enabled = false;  // as the lock register said last
  };

  void read_register(uint64_t offset, std::span<std::byte> data) VMM_EXCLUDES(mutex_);
  void write_register(uint64_t offset, std::span<const std::byte> data) VMM_EXCLUDES(mutex_);
  void write_reload(uint32_t value) VMM_REQUIRES(mutex_);
  void apply_config() VMM_EXCLUDES(mutex_);
  void restart() VMM_REQUIRES(mutex_);
  void expired() VMM_EXCLUDES(mutex_);

  uint8_t lock_register() const VMM_EXCLUDES(config_mutex_);
  uint16_t config_register() const VMM_EXCLUDES(config_mutex_);

  const std::function<void()> on_expired_;
  RegisterWindow<I6300Esb, &I6300Esb::read_register, &I6300Esb::write_register> window_{*this};
  Mutex mutex_;  // before config_mutex_
  Registers registers_ VMM_GUARDED_BY(mutex_);
  Countdown countdown_;
};

}  // namespace vmm::pci
