// CacheCounters: how often the tables of a disk's images were found in memory. A request that waited for a
// table looks for it again.
//
// Threads: count() on the disk's loop; the others on any.
#pragma once

#include <atomic>
#include <cstdint>

namespace vmm::block {

class CacheCounters {
 public:
  void count(bool is_hit) {
    std::atomic<uint64_t>& counter = is_hit ? hits_ : misses_;
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  uint64_t hits() const { return hits_.load(std::memory_order_relaxed); }
  uint64_t misses() const { return misses_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> hits_{0}, misses_{0};
};

}  // namespace vmm::block
