// PvPanic: the port at which a guest's kernel tells that it has panicked, as QEMU's pvpanic device has it
// (QEMU, docs/specs/pvpanic.rst): one port, which shows the events that it knows, and gets those that happen.
//
// Threads: all methods from any thread; callbacks come on the thread of the vCPU that wrote.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "devices/byte_device.h"

namespace vmm {

class PvPanic final : public ByteDevice {
 public:
  static constexpr uint64_t kPorts = 1;
  // Events, as bits.
  static constexpr uint8_t kPanicked = 0x01;     // the host is to do something about it
  static constexpr uint8_t kCrashLoaded = 0x02;  // the guest does it itself: its crash kernel takes over

  struct Events {
    std::function<void()> panicked;
    std::function<void()> crash_loaded;
  };
  explicit PvPanic(Events events) : events_(std::move(events)) {}

 private:
  uint8_t read_byte(uint64_t offset) override;
  void write_byte(uint64_t offset, uint8_t value) override;

  const Events events_;
};

}  // namespace vmm
