#include "block/tool/progress.h"

#include <cstdio>

namespace vmm::block::tool {
namespace {

// More often would be slower, and tell nobody more.
constexpr double kStepPercent = 1;
constexpr double kAllPercent = 100;

void print(double percent) {
  static_cast<void>(std::printf("    (%3.2f/100%%)\r", percent));
  static_cast<void>(std::fflush(stdout));
}

}  // namespace

Progress::Progress(bool is_shown) : is_shown_(is_shown) {
  if (is_shown_) {
    print(0);
  }
}

Progress::~Progress() {
  if (is_shown_) {
    static_cast<void>(std::printf("\n"));
  }
}

void Progress::show(uint64_t done, uint64_t all) {
  const double percent =
      all == 0 ? kAllPercent : static_cast<double>(done) * kAllPercent / static_cast<double>(all);
  if (is_shown_ && (percent >= shown_percent_ + kStepPercent || (done == all && percent > shown_percent_))) {
    shown_percent_ = percent;
    print(percent);
  }
}

}  // namespace vmm::block::tool
