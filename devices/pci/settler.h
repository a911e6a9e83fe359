// Settler: brings the world outside an object (a wire, a bus) in line with state that the object's mutex
// guards, without holding that mutex while calling out.
//
// Threads: any. When several threads ask at once, one of them does the work, also for the changes of the
// others, and repeats it until no change is left: what is applied last is always what was wanted last.
#pragma once

#include <atomic>
#include <cstdint>

namespace vmm::pci {

class Settler {
 public:
  // `apply` reads the wanted state (under its own lock) and applies it; it never runs twice at a time.
  // Returns at once where another thread is at it.
  template <typename Apply>
  void settle(Apply&& apply) {
    if (requests_.fetch_add(1, std::memory_order_acq_rel) != 0) {
      return;
    }
    uint64_t seen = 1;
    do {
      apply();
    } while (!requests_.compare_exchange_strong(seen, 0, std::memory_order_acq_rel));
  }

 private:
  std::atomic<uint64_t> requests_{0};
};

}  // namespace vmm::pci
