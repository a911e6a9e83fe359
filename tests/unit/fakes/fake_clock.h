// A clock that a test moves by hand, and an alarm that goes off by it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
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
  std::optional<std::chrono::nanoseconds> due() const { return due_; }
  void go_off() {
    due_.reset();
    ++calls_;
    handler_();
  }

  uint64_t calls() const { return calls_; }

  // See below.
  int run_for(std::chrono::nanoseconds time);

 private:
  FakeClock& clock_;
  std::function<void()> handler_;
  std::optional<std::chrono::nanoseconds> due_;
  uint64_t calls_ = 0;
};

// Moves the clock on, and calls the handler of each alarm at each moment at which it is due. Returns how
// often.
inline int run_for(FakeClock& clock, std::initializer_list<FakeAlarm*> alarms,
                   std::chrono::nanoseconds time) {
  const auto end = clock.now() + time;
  const auto due = [](const FakeAlarm* alarm) {
    return alarm->due().value_or(std::chrono::nanoseconds::max());
  };
  int calls = 0;
  while (true) {
    FakeAlarm* const next = *std::ranges::min_element(alarms, {}, due);
    if (due(next) > end) {
      break;
    }
    clock.advance(due(next) - clock.now());
    next->go_off();
    ++calls;
  }
  clock.advance(end - clock.now());
  return calls;
}

inline int FakeAlarm::run_for(std::chrono::nanoseconds time) { return vmm::run_for(clock_, {this}, time); }

}  // namespace vmm
