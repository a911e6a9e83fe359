// TokenBucket: how much of something may happen in a second, and how much more in a burst.
//
// What happened fills it, and it leaks at the allowed rate; while it is fuller than it may be, the next one
// waits. So one request is never split, whatever its size: it goes when its turn has come, and those behind
// it wait for longer.
//
// Threads: its owner's. Times are of any clock that does not go back.
#pragma once

#include <chrono>
#include <cstdint>

namespace vmm::block {

// libvirt's <total_bytes_sec> and its like, of bytes or of operations.
struct IoLimit {
  uint64_t per_second = 0;        // 0: no limit
  uint64_t burst_per_second = 0;  // 0: no burst, else at least per_second
  uint64_t burst_seconds = 1;     // for so long; from 1
};

class TokenBucket {
 public:
  using Duration = std::chrono::nanoseconds;

  // It limits nothing.
  TokenBucket() = default;
  explicit TokenBucket(const IoLimit& limit);

  // How long the next one waits from `now` on, if nothing happens meanwhile; 0: it may go.
  Duration wait(Duration now) const;
  void take(double units, Duration now);

 private:
  // By times, so that nothing is rounded but what is taken: it leaks empty in `empty_at - now`.
  struct Leak {
    double per_second = 0;  // 0: no limit
    Duration depth{0};
    Duration empty_at{0};

    Duration wait(Duration now) const;
    void take(double units, Duration now);
  };

  Leak average_;
  Leak burst_;  // where a burst lasts longer than its first second: how fast it is
};

}  // namespace vmm::block
