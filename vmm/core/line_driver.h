// LineDriver: how a device with a mutex drives its InterruptLine without holding that mutex in set().
//
// The device calls request() while it holds its own mutex, so that levels are asked for in the order in which
// its state changed, and publish() after it has released it. However threads interleave, the line ends at the
// level asked for last, and a fall that was asked for since the last publication reaches the line: an
// edge-triggered input sees each new cause.
#pragma once

#include <atomic>
#include <cstdint>

#include "vmm/base/thread_annotations.h"
#include "vmm/core/interrupt.h"

namespace vmm {

class LineDriver {
 public:
  // The line is low.
  explicit LineDriver(InterruptLine& line) : line_(line) {}

  // REQUIRES: the caller serialises its calls (with the mutex that guards what the level is made from).
  void request(bool level);

  // Brings the line to what was asked for. Any thread. Where another thread is doing so already, that one
  // takes this request along, and publish() returns before the line has changed.
  void publish() VMM_EXCLUDES(mutex_);

 private:
  static constexpr uint64_t kLevel = 1;
  static constexpr uint64_t kOneFall = 2;

  InterruptLine& line_;
  std::atomic<uint64_t> request_{0};  // bit 0: the level; above it: how often it fell

  Mutex mutex_;
  bool is_publishing_ VMM_GUARDED_BY(mutex_) = false;
  uint64_t published_ VMM_GUARDED_BY(mutex_) = 0;
};

}  // namespace vmm
