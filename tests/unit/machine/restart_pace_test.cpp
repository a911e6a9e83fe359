#include "vmm/machine/restart_pace.h"

#include <gtest/gtest.h>

namespace vmm {
namespace {

using namespace std::chrono_literals;

class RestartPaceTest : public testing::Test {
 protected:
  // One run of this length, ended by a crash. Returns which crash it was.
  uint64_t crash_after(RestartPace::Duration run) {
    pace_.started(now_);
    now_ += run;
    pace_.ended(now_);
    now_ += pace_.pause();
    return pace_.count_crash();
  }

  RestartPace pace_;
  RestartPace::Time now_{1h};
};

TEST_F(RestartPaceTest, AGuestThatEndsAtOnceIsStartedLessAndLessOften) {
  crash_after(1ms);
  EXPECT_EQ(pace_.pause(), RestartPace::kFirstPause);
  crash_after(1ms);
  EXPECT_EQ(pace_.pause(), 2 * RestartPace::kFirstPause);
  for (int i = 0; i < 1000; ++i) {
    crash_after(1ms);
    EXPECT_LE(pace_.pause(), RestartPace::kLongestPause);
  }
  EXPECT_EQ(pace_.pause(), RestartPace::kLongestPause);
}

TEST_F(RestartPaceTest, AGuestThatRanForAMomentIsStartedAtOnce) {
  crash_after(1ms);
  crash_after(RestartPace::kMoment);
  EXPECT_EQ(pace_.pause(), 0s);
  crash_after(1ms);
  EXPECT_EQ(pace_.pause(), RestartPace::kFirstPause);
}

TEST_F(RestartPaceTest, CrashesAreCountedUntilARunWasLong) {
  EXPECT_EQ(crash_after(1ms), 1U);
  EXPECT_EQ(crash_after(30s), 2U);
  EXPECT_EQ(crash_after(RestartPace::kLongRun), 1U);
}

}  // namespace
}  // namespace vmm
