// TokenBucket: how much of something may happen in a second, and how much more in a burst.
//
// What happened fills it, and it leaks at the allowed rate; while it is fuller than it may be, the next one
// waits. So one request is never split, whatever its size: it goes when its turn has come, and those behind
// it wait for longer.
//
// Threads: its owner's. Times are of any clock that does not go back.
#pragma once

#include <chrono>

namespace vmm {

class TokenBucket {
 public:
  using Duration = std::chrono::nanoseconds;

  // In units: bytes, operations.
  struct Limit {
    double per_second = 0;        // over time; 0: no limit
    double burst = 0;             // so much may come faster; 0: what a tenth of a second has
    double burst_per_second = 0;  // and that is how fast; 0: at once
  };

  // It limits nothing.
  TokenBucket() = default;
  explicit TokenBucket(const Limit& limit);

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
  Leak burst_;
};

}  // namespace vmm
