// The interrupt lines that devices under test drive.
#pragma once

#include <atomic>

#include "vmm/core/interrupt.h"

namespace vmm {

class FakeLine final : public InterruptLine {
 public:
  void set(bool new_level) override {
    if (new_level && !level.exchange(true)) {
      ++rises;
    } else if (!new_level) {
      level = false;
    }
  }

  std::atomic<bool> level{false};
  std::atomic<int> rises{0};
};

}  // namespace vmm
