#include "vmm/core/line_driver.h"

namespace vmm {

void LineDriver::request(bool level) {
  const uint64_t before = request_.load(std::memory_order_relaxed);
  const bool was_high = (before & kLevel) != 0;
  if (was_high == level) {
    return;
  }
  request_.store(level ? before | kLevel : (before & ~kLevel) + kOneFall, std::memory_order_release);
}

void LineDriver::publish() {
  mutex_.lock();
  if (is_publishing_) {
    mutex_.unlock();
    return;
  }
  is_publishing_ = true;
  // Each turn takes one new request; a turn without one is the last.
  for (uint64_t wanted = request_.load(std::memory_order_acquire); wanted != published_;
       wanted = request_.load(std::memory_order_acquire)) {
    const bool was_high = (published_ & kLevel) != 0;
    const bool has_fallen = (wanted & ~kLevel) != (published_ & ~kLevel);
    published_ = wanted;
    mutex_.unlock();
    if (was_high && has_fallen) {
      line_.set(false);
    }
    if ((wanted & kLevel) != 0) {
      line_.set(true);
    }
    mutex_.lock();
  }
  is_publishing_ = false;
  mutex_.unlock();
}

}  // namespace vmm
