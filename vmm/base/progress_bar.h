// ProgressBar: how far something long has come, for who looks at a terminal: what is done, the rate, and the
// time that is left.
//
// On standard error, where that is a terminal; it goes away at the end. Threads: one; one object at a time.
#pragma once

#include <chrono>
#include <cstdint>

namespace vmm {

class ProgressBar {
 public:
  ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar();

  // Bytes.
  void show(uint64_t done, uint64_t all);

 private:
  using Clock = std::chrono::steady_clock;

  bool is_on_terminal_;
  bool is_drawn_ = false;
  Clock::time_point begin_;
  Clock::time_point next_drawing_;
};

}  // namespace vmm
