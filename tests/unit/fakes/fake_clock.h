// A clock that a test moves by hand, and an alarm that goes off by it.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <utility>

#include "vmm/core/alarm.h"
#include "vmm/core/clock.h"

namespace vmm {

class FakeClock {
 public:
  using Time = std::chrono::nanoseconds;

  explicit FakeClock(Time start = Time(0)) : now_(start) {}

  // A MonotonicClock or WallClock. The FakeClock must outlive it.
  std::function<Time()> function() {
    return [this] { return now_; };
  }

  Time now() const { return now_; }
  void advance(Time time) { now_ += time; }

 private:
  Time now_;
};

class FakeAlarm final : public Alarm {
 public:
  explicit FakeAlarm(FakeClock& clock) : clock_(clock) {}

  void set_handler(std::function<void()> handler) override { handler_ = std::move(handler); }
  void arm(std::chrono::nanoseconds delay) override { due_ = clock_.now() + delay; }
  void disarm() override { due_.reset(); }

  bool is_armed() const { return due_.has_value(); }

  // Moves the clock on, and calls the handler at each moment at which the alarm is due. Returns how often.
  int run_for(std::chrono::nanoseconds time) {
    const auto end = clock_.now() + time;
    int calls = 0;
    while (due_ && *due_ <= end) {
      clock_.advance(std::exchange(due_, std::nullopt).value() - clock_.now());
      handler_();
      ++calls;
    }
    clock_.advance(end - clock_.now());
    return calls;
  }

 private:
  FakeClock& clock_;
  std::function<void()> handler_;
  std::optional<std::chrono::nanoseconds> due_;
};

}  // namespace vmm
