// RestartPace: a guest that ends by itself and is restarted, again and again: how soon, and how much is told
// of it. So that it neither fills the log nor takes a processor for nothing but restarts.
//
// Threads: the main loop's.
#pragma once

#include <chrono>
#include <cstdint>

namespace vmm {

class RestartPace {
 public:
  using Duration = std::chrono::nanoseconds;
  using Time = std::chrono::steady_clock::time_point;

  // A run that is shorter than this is followed by a pause, which grows from the first to the longest.
  static constexpr Duration kMoment = std::chrono::seconds(1);
  static constexpr Duration kFirstPause = std::chrono::milliseconds(10);
  static constexpr Duration kLongestPause = std::chrono::seconds(1);
  // Crashes that are reported whole, until a run was long.
  static constexpr uint64_t kWholeReports = 3;
  static constexpr Duration kLongRun = std::chrono::seconds(60);

  void started(Time now) { started_ = now; }
  // By itself.
  void ended(Time now);
  // After ended(). Returns which crash this is, from 1, since a run was long.
  uint64_t count_crash() { return ++crashes_; }
  // After ended(): before it starts again.
  Duration pause() const { return pause_; }

 private:
  Time started_{};
  Duration pause_{0};
  uint64_t crashes_ = 0;
};

}  // namespace vmm
