#include "devices/pv_panic.h"

namespace vmm {

uint8_t PvPanic::read_byte(uint64_t /*offset*/) { return kPanicked | kCrashLoaded; }

void PvPanic::write_byte(uint64_t /*offset*/, uint8_t value) {
  if ((value & kPanicked) != 0) {
    events_.panicked();
  } else if ((value & kCrashLoaded) != 0) {
    events_.crash_loaded();
  }
}

}  // namespace vmm
