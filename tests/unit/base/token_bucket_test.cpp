// Token buckets: what a second may hold, and what a burst.
#include "vmm/base/token_bucket.h"

#include <gtest/gtest.h>

#include <chrono>

namespace vmm {
namespace {

using namespace std::chrono_literals;
using Duration = TokenBucket::Duration;

// Takes `units` as often as the bucket lets it, from `begin` to `end`; returns how often.
int taken_until(TokenBucket& bucket, double units, Duration begin, Duration end) {
  int count = 0;
  for (Duration now = begin; now < end;) {
    const Duration left = bucket.wait(now);
    if (left == 0s) {
      bucket.take(units, now);
      ++count;
    }
    now += left;
  }
  return count;
}

TEST(TokenBuckets, WithoutALimitNothingWaits) {
  TokenBucket bucket;
  bucket.take(1e18, 5s);
  EXPECT_EQ(bucket.wait(5s), 0s);
  TokenBucket none{TokenBucket::Limit{}};
  none.take(1e18, 5s);
  EXPECT_EQ(none.wait(5s), 0s);
}

TEST(TokenBuckets, TheFirstGoesAtOnceAndTheNextWhenItIsPaidFor) {
  TokenBucket bucket({.per_second = 10});
  EXPECT_EQ(bucket.wait(1s), 0s);
  bucket.take(1, 1s);  // as much as may come at once
  EXPECT_EQ(bucket.wait(1s), 0s);
  bucket.take(1, 1s);
  EXPECT_EQ(bucket.wait(1s), 100ms);
  EXPECT_EQ(bucket.wait(1040ms), 60ms);
  EXPECT_EQ(bucket.wait(1100ms), 0s);
}

TEST(TokenBuckets, OneThatIsLargerThanTheLimitGoesWholeAndTheNextWaitsForIt) {
  TokenBucket bucket({.per_second = 1000});
  bucket.take(5000, 0s);
  EXPECT_EQ(bucket.wait(0s), 4900ms);
}

TEST(TokenBuckets, OverTimeItIsTheLimit) {
  TokenBucket bucket({.per_second = 1'000'000});
  EXPECT_NEAR(taken_until(bucket, 4096, 0s, 100s), 100.1 * 1'000'000 / 4096, 1);
}

TEST(TokenBuckets, WhatWasNotUsedIsNotSaved) {
  TokenBucket bucket({.per_second = 100});
  bucket.take(1, 0s);
  EXPECT_NEAR(taken_until(bucket, 1, 3600s, 3601s), 110, 1);
}

TEST(TokenBuckets, ABurstOfASecondMayComeAtOnce) {
  TokenBucket bucket({.per_second = 100, .burst = 1000});
  bucket.take(1000, 0s);
  EXPECT_EQ(bucket.wait(0s), 0s);
  bucket.take(100, 0s);
  EXPECT_EQ(bucket.wait(0s), 1s);
}

TEST(TokenBuckets, ALongerBurstHasARateOfItsOwnAndEnds) {
  TokenBucket bucket({.per_second = 100, .burst = 5000, .burst_per_second = 1000});
  // 5000 beyond what leaks meanwhile: 900 more than that in a second, for 5.5 s.
  EXPECT_NEAR(taken_until(bucket, 1, 0s, 5s), 5000, 102);
  EXPECT_NEAR(taken_until(bucket, 1, 5s, 6s), 600, 102);
  EXPECT_NEAR(taken_until(bucket, 1, 6s, 16s), 1000, 5);
}

TEST(TokenBuckets, AfterARestThereIsAnotherBurst) {
  TokenBucket bucket({.per_second = 100, .burst = 1000});
  bucket.take(1000, 0s);
  EXPECT_EQ(taken_until(bucket, 1000, 10s, 11s),
            2);  // all has leaked out; one more is as large as may come at once
}

TEST(TokenBuckets, NumbersAtTheirEndsDoNotOverflow) {
  TokenBucket slow({.per_second = 1});
  for (int i = 0; i < 1000; ++i) {
    slow.take(1e18, 1h);
  }
  EXPECT_GT(slow.wait(1h), 24h * 365);
  EXPECT_LT(slow.wait(1h), 24h * 365 * 11);
  TokenBucket fast({.per_second = 1e15, .burst = 1e15});
  fast.take(512, 0s);
  EXPECT_EQ(fast.wait(0s), 0s);
  TokenBucket long_burst({.per_second = 1, .burst = 1e24, .burst_per_second = 1e6});
  long_burst.take(1'000'000, 0s);
  EXPECT_GT(long_burst.wait(0s), 0s);
}

}  // namespace
}  // namespace vmm
