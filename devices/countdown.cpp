#include "devices/countdown.h"

#include <algorithm>
#include <utility>

namespace vmm {

Countdown::Countdown(MonotonicClock clock, Alarm& alarm, std::function<void()> on_expired)
    : clock_(std::move(clock)), alarm_(alarm), on_expired_(std::move(on_expired)) {
  alarm_.set_handler([this] { on_alarm(); });
}

void Countdown::start(Duration time) {
  const MutexLock lock(mutex_);
  if (is_held_) {
    left_ = time;
  } else {
    set_deadline(time);
  }
}

void Countdown::stop() {
  const MutexLock lock(mutex_);
  left_.reset();
  deadline_.reset();  // the alarm goes off for nothing, once
}

void Countdown::hold() {
  const MutexLock lock(mutex_);
  is_held_ = true;
  if (const auto deadline = std::exchange(deadline_, std::nullopt)) {
    left_ = std::max(*deadline - clock_(), Duration(0));
  }
}

void Countdown::go_on() {
  const MutexLock lock(mutex_);
  is_held_ = false;
  if (const auto left = std::exchange(left_, std::nullopt)) {
    set_deadline(*left);
  }
}

bool Countdown::is_running() {
  const MutexLock lock(mutex_);
  return deadline_ || left_;
}

void Countdown::set_deadline(Duration time) {
  deadline_ = clock_() + time;
  if (!alarm_due_ || *alarm_due_ > *deadline_) {
    alarm_due_ = deadline_;
    alarm_.arm(time);
  }
}

void Countdown::on_alarm() {
  {
    const MutexLock lock(mutex_);
    alarm_due_.reset();
    if (!deadline_) {
      return;
    }
    if (const Duration left = *deadline_ - clock_(); left > Duration(0)) {
      return set_deadline(left);
    }
    deadline_.reset();
  }
  on_expired_();
}

}  // namespace vmm
