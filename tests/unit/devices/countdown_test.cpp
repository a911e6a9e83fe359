#include "devices/countdown.h"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_clock.h"

namespace vmm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class CountdownTest : public ::testing::Test {
 protected:
  FakeClock clock_;
  FakeAlarm alarm_{clock_};
  int ends_ = 0;
  Countdown countdown_{clock_.function(), alarm_, [this] { ++ends_; }};
};

TEST_F(CountdownTest, EndsOnceWhenItsTimeIsOver) {
  countdown_.start(seconds(10));
  alarm_.run_for(seconds(10) - milliseconds(1));
  EXPECT_EQ(ends_, 0);
  EXPECT_TRUE(countdown_.is_running());
  alarm_.run_for(milliseconds(1));
  EXPECT_EQ(ends_, 1);
  EXPECT_FALSE(countdown_.is_running());
  alarm_.run_for(seconds(100));
  EXPECT_EQ(ends_, 1);
}

TEST_F(CountdownTest, StartedAnewItBeginsAgain) {
  countdown_.start(seconds(10));
  alarm_.run_for(seconds(9));
  countdown_.start(seconds(10));
  alarm_.run_for(seconds(9));
  EXPECT_EQ(ends_, 0);
  alarm_.run_for(seconds(1));
  EXPECT_EQ(ends_, 1);
}

TEST_F(CountdownTest, AShorterOneEndsSooner) {
  countdown_.start(seconds(100));
  countdown_.start(seconds(1));
  alarm_.run_for(seconds(1));
  EXPECT_EQ(ends_, 1);
}

TEST_F(CountdownTest, StoppedItDoesNotEnd) {
  countdown_.start(seconds(1));
  countdown_.stop();
  EXPECT_FALSE(countdown_.is_running());
  alarm_.run_for(seconds(100));
  EXPECT_EQ(ends_, 0);
  countdown_.start(seconds(1));
  alarm_.run_for(seconds(1));
  EXPECT_EQ(ends_, 1);
}

TEST_F(CountdownTest, HeldItKeepsWhatIsLeft) {
  countdown_.start(seconds(10));
  alarm_.run_for(seconds(4));
  countdown_.hold();
  countdown_.hold();
  alarm_.run_for(seconds(1000));
  EXPECT_EQ(ends_, 0);
  EXPECT_TRUE(countdown_.is_running());
  countdown_.go_on();
  alarm_.run_for(seconds(6) - milliseconds(1));
  EXPECT_EQ(ends_, 0);
  alarm_.run_for(milliseconds(1));
  EXPECT_EQ(ends_, 1);
}

TEST_F(CountdownTest, WhatIsStoppedOrStartedWhileHeldIsSoAfterwards) {
  countdown_.start(seconds(10));
  countdown_.hold();
  countdown_.stop();
  countdown_.go_on();
  alarm_.run_for(seconds(100));
  EXPECT_EQ(ends_, 0);
  countdown_.hold();
  countdown_.start(seconds(5));
  alarm_.run_for(seconds(100));
  EXPECT_EQ(ends_, 0);
  countdown_.go_on();
  alarm_.run_for(seconds(5));
  EXPECT_EQ(ends_, 1);
}

// Each alarm is a system call, and more work when it goes off.
TEST_F(CountdownTest, AMillionStartsNeedTheAlarmOnceInATime) {
  int calls = 0;
  for (int i = 0; i < 1'000'000; ++i) {
    countdown_.start(seconds(30));
    calls += alarm_.run_for(std::chrono::microseconds(100));
  }
  EXPECT_LE(calls, 4);  // 100 s
  EXPECT_EQ(ends_, 0);
}

}  // namespace
}  // namespace vmm
