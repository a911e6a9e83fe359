#include "vmm/machine/restart_pace.h"

#include <algorithm>

namespace vmm {

void RestartPace::ended(Time now) {
  const Duration run = now - started_;
  if (run >= kLongRun) {
    crashes_ = 0;
  }
  pause_ = run >= kMoment ? Duration(0) : std::clamp(pause_ * 2, kFirstPause, kLongestPause);
}

}  // namespace vmm
