#include "devices/exit_port.h"

#include <utility>

namespace vmm {

void ExitPort::reset() {
  const MutexLock lock(mutex_);
  is_written_ = false;
}

uint8_t ExitPort::read_byte(uint64_t /*offset*/) { return kPresent; }

void ExitPort::write_byte(uint64_t /*offset*/, uint8_t value) {
  {
    const MutexLock lock(mutex_);
    if (std::exchange(is_written_, true)) {
      return;
    }
  }
  on_exit_(value);
}

}  // namespace vmm
