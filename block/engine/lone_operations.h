// LoneOperations: whether a read or write that is alone is done by the loop's own thread.
//
// With nothing else under way, handing it to the kernel and sleeping until its answer costs two switches of
// threads where the kernel has to pass it on (a write into the page cache, or into new space of a file), and
// more work even where it has not. But while the thread is in the call it hears nobody: where others came
// meanwhile, or the call took long, the next ones are handed over, for longer each time.
//
// Threads: those of its owner.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace vmm::block {

class LoneOperations {
 public:
  static constexpr std::chrono::milliseconds kLongest{2};
  static constexpr uint32_t kFirstPause = 4;  // operations handed over after one that should have been
  static constexpr uint32_t kLongestPause = 1024;

  // To be asked once for each.
  bool may_be_done_here() {
    if (left_out_ == 0) {
      return true;
    }
    --left_out_;
    return false;
  }

  void was_done_here(std::chrono::nanoseconds took, bool others_waited) {
    if (!others_waited && took <= kLongest) {
      pause_ = kFirstPause;
      return;
    }
    left_out_ = pause_;
    pause_ = std::min(pause_ * 4, kLongestPause);
  }

 private:
  uint32_t left_out_ = 0;
  uint32_t pause_ = kFirstPause;
};

}  // namespace vmm::block
