// Alarm: one single-shot timer for a device that must act when nobody touches its registers.
//
// Threads: arm() and disarm() from any thread; the handler is called on one thread, that of the event loop,
// never from inside arm(). It may still come once after disarm(): a device looks at its clock, not at the
// call.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"

namespace vmm {

class Alarm {
 public:
  virtual ~Alarm() = default;

  // Before the first arm(); at most once. What the handler uses must live as long as the loop turns.
  virtual void set_handler(std::function<void()> handler) = 0;
  virtual void arm(std::chrono::nanoseconds delay) = 0;  // replaces an earlier arm()
  virtual void disarm() = 0;
};

// An Alarm on an event loop (which must outlive it; created and destroyed on the loop's thread).
Result<std::unique_ptr<Alarm>> make_loop_alarm(EventLoop& loop);

}  // namespace vmm
