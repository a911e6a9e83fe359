// ExitPort: one port at which a guest ends its own run and says with which status, as a program does with
// exit(2). No hardware has such a port; virtual machine monitors commonly have one for tests.
//
// Threads: all methods from any thread; the callback comes on the thread of the vCPU that wrote.
#pragma once

#include <cstdint>
#include <functional>

#include "devices/byte_device.h"
#include "vmm/base/thread_annotations.h"

namespace vmm {

class ExitPort final : public ByteDevice {
 public:
  static constexpr uint64_t kPorts = 1;
  static constexpr uint8_t kPresent = 0xe5;  // what reading gives: the port is there (scripts/guest-exit)

  // on_exit gets the byte that is written first; what is written after it, until reset(), is dropped.
  explicit ExitPort(std::function<void(uint8_t status)> on_exit) : on_exit_(std::move(on_exit)) {}
  void reset() VMM_EXCLUDES(mutex_);

 private:
  uint8_t read_byte(uint64_t offset) override;
  void write_byte(uint64_t offset, uint8_t value) override VMM_EXCLUDES(mutex_);

  const std::function<void(uint8_t status)> on_exit_;
  Mutex mutex_;
  bool is_written_ VMM_GUARDED_BY(mutex_) = false;
};

}  // namespace vmm
