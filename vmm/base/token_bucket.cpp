#include "vmm/base/token_bucket.h"

#include <algorithm>
#include <cmath>

namespace vmm {
namespace {

using Duration = TokenBucket::Duration;

constexpr double kNanoseconds = 1e9;
// What may come at once without a burst: rates are of seconds, and guests are not to notice the turns of a
// loop.
constexpr Duration kUsualDepth = std::chrono::milliseconds(100);
// Nobody waits for longer, and no sum of times overflows.
constexpr Duration kForEver = std::chrono::hours(24 * 365 * 10);

Duration duration_of(double units, double per_second) {
  const double nanoseconds = units / per_second * kNanoseconds;
  return nanoseconds < static_cast<double>(kForEver.count()) ? Duration(std::llround(nanoseconds)) : kForEver;
}

}  // namespace

Duration TokenBucket::Leak::wait(Duration now) const {
  return per_second == 0 ? Duration(0) : std::max(empty_at - now - depth, Duration(0));
}

void TokenBucket::Leak::take(double units, Duration now) {
  if (per_second != 0) {
    empty_at = std::min(std::max(empty_at, now) + duration_of(units, per_second), now + kForEver);
  }
}

TokenBucket::TokenBucket(const Limit& limit) {
  if (limit.per_second == 0) {
    return;
  }
  average_ = {.per_second = limit.per_second,
              .depth = limit.burst != 0 ? duration_of(limit.burst, limit.per_second) : kUsualDepth};
  if (limit.burst_per_second != 0) {
    burst_ = {.per_second = limit.burst_per_second, .depth = kUsualDepth};
  }
}

Duration TokenBucket::wait(Duration now) const { return std::max(average_.wait(now), burst_.wait(now)); }

void TokenBucket::take(double units, Duration now) {
  average_.take(units, now);
  burst_.take(units, now);
}

}  // namespace vmm
