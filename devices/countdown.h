// Countdown: time that a watchdog gives its guest, on an Alarm. Starting it anew costs no host timer: the
// alarm that runs finds out when it goes off.
//
// Threads: all methods from any thread. on_expired comes on the alarm's thread, with no lock held.
#pragma once

#include <chrono>
#include <functional>
#include <optional>

#include "vmm/base/thread_annotations.h"
#include "vmm/core/alarm.h"
#include "vmm/core/clock.h"

namespace vmm {

class Countdown {
 public:
  using Duration = std::chrono::nanoseconds;

  // The alarm is this countdown's alone, and outlives it.
  Countdown(MonotonicClock clock, Alarm& alarm, std::function<void()> on_expired);

  // From now on, in place of what ran before.
  void start(Duration time) VMM_EXCLUDES(mutex_);
  void stop() VMM_EXCLUDES(mutex_);
  // The guest's time stands still from hold() to go_on(). More of the same change nothing.
  void hold() VMM_EXCLUDES(mutex_);
  void go_on() VMM_EXCLUDES(mutex_);
  bool is_running() VMM_EXCLUDES(mutex_);

 private:
  void on_alarm() VMM_EXCLUDES(mutex_);
  void set_deadline(Duration time) VMM_REQUIRES(mutex_);

  const MonotonicClock clock_;
  Alarm& alarm_;
  const std::function<void()> on_expired_;

  Mutex mutex_;
  bool is_held_ VMM_GUARDED_BY(mutex_) = false;
  std::optional<Duration> left_ VMM_GUARDED_BY(mutex_);      // while it is held
  std::optional<Duration> deadline_ VMM_GUARDED_BY(mutex_);  // while it runs
  std::optional<Duration> alarm_due_ VMM_GUARDED_BY(mutex_);
};

}  // namespace vmm
