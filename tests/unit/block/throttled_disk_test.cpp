// A disk that is limited: what waits, what does not, and what ends the waiting.
#include "block/throttled_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tests/unit/fakes/fake_block_device.h"

namespace vmm::block {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::Ge;
using testing::Le;
using testing::SizeIs;

constexpr IoLimits kTenOperations{.total_operations = {.per_second = 10}};

class ThrottledDiskTest : public testing::Test {
 protected:
  void TearDown() override { end(); }

  void end() {
    if (throttled_ != nullptr) {
      throttled_->drop_waiting();
      throttled_.reset();
    }
  }

  void make(const IoLimits& limits) {
    end();
    auto loop = EventLoop::create();
    ASSERT_TRUE(loop);
    loop_ = *std::move(loop);
    auto disk = std::make_unique<FakeBlockDevice>(1 << 20);
    disk_ = disk.get();
    throttled_ = std::make_unique<ThrottledDisk>(
        *loop_, std::move(disk),
        ThrottledDisk::Time{
            .now = [this] { return now_; },
            .wake_after = [this](ThrottledDisk::Duration delay) { woken_at_ = now_ + delay; }});
    ASSERT_TRUE(throttled_->set_limits(limits));
  }

  void submit(BlockOp op, uint64_t offset = 0, uint64_t length_bytes = 512) {
    BlockRequest request;
    request.op = op;
    request.offset = DiskOffset(offset);
    request.length_bytes = op == BlockOp::kFlush ? 0 : length_bytes;
    if (op == BlockOp::kRead || op == BlockOp::kWrite) {
      buffer_ = {.iov_base = bytes_.data(), .iov_len = length_bytes};
      request.buffers = std::span(&buffer_, 1);
    }
    request.completion =
        Completion([](void* context, uint64_t /*cookie*/,
                      IoStatus status) { static_cast<ThrottledDiskTest*>(context)->ends_.push_back(status); },
                   this, 0);
    throttled_->submit(std::move(request));
  }

  // The time comes to which the loop sleeps.
  void sleep() {
    ASSERT_TRUE(woken_at_);
    now_ = *std::exchange(woken_at_, std::nullopt);
    loop_->run_once(0s);
  }

  void pass(ThrottledDisk::Duration time) {
    for (const auto end = now_ + time; now_ < end;) {
      if (!woken_at_ || *woken_at_ > end) {
        now_ = end;
        return loop_->run_once(0s);
      }
      sleep();
    }
  }

  std::vector<uint64_t> offsets(BlockOp op) const {
    std::vector<uint64_t> found;
    for (const auto& record : disk_->history()) {
      if (record.op == op) {
        found.push_back(record.offset.bytes());
      }
    }
    return found;
  }

  std::array<std::byte, 65536> bytes_{};
  iovec buffer_{};
  ThrottledDisk::Duration now_ = 1h;
  std::optional<ThrottledDisk::Duration> woken_at_;
  std::unique_ptr<EventLoop> loop_;
  FakeBlockDevice* disk_ = nullptr;
  std::unique_ptr<ThrottledDisk> throttled_;
  std::vector<IoStatus> ends_;
};

TEST_F(ThrottledDiskTest, WhatIsWithinTheLimitGoesAtOnce) {
  make(kTenOperations);
  for (int i = 0; i < 5; ++i) {
    submit(BlockOp::kRead);
    EXPECT_THAT(ends_, SizeIs(i + 1));
    now_ += 100ms;
  }
  EXPECT_FALSE(woken_at_);
}

TEST_F(ThrottledDiskTest, WhatIsBeyondWaitsForItsTime) {
  make(kTenOperations);
  for (int i = 0; i < 30; ++i) {
    submit(BlockOp::kWrite);
  }
  EXPECT_THAT(ends_, SizeIs(2));
  EXPECT_EQ(throttled_->in_flight(), 28U);
  pass(1s);
  EXPECT_THAT(ends_, SizeIs(12));
  pass(10s);
  EXPECT_THAT(ends_, SizeIs(30));
  EXPECT_EQ(throttled_->in_flight(), 0U);
}

TEST_F(ThrottledDiskTest, BytesAreCountedWhateverTheOperationsAre) {
  make({.total_bytes = {.per_second = 100'000}});
  for (int i = 0; i < 40; ++i) {
    submit(i % 2 == 0 ? BlockOp::kRead : BlockOp::kWrite, 0, 10'000);
  }
  pass(1s);
  EXPECT_THAT(ends_, SizeIs(12));
}

TEST_F(ThrottledDiskTest, ReadsAndWritesHaveLimitsOfTheirOwn) {
  make({.write_bytes = {.per_second = 1000}});
  submit(BlockOp::kWrite, 0, 65536);
  submit(BlockOp::kWrite, 65536, 512);
  EXPECT_THAT(ends_, SizeIs(1));
  for (int i = 0; i < 100; ++i) {
    submit(BlockOp::kRead, 0, 65536);
  }
  EXPECT_THAT(offsets(BlockOp::kRead), SizeIs(100));
  EXPECT_THAT(offsets(BlockOp::kWrite), ElementsAre(0));
}

TEST_F(ThrottledDiskTest, WhoSharesALimitTakesTurnsAndEachKeepsItsOrder) {
  make(kTenOperations);
  submit(BlockOp::kRead);
  submit(BlockOp::kRead);
  for (uint64_t i = 1; i <= 6; ++i) {
    submit(BlockOp::kWrite, i * 512);
  }
  submit(BlockOp::kRead, 512);
  submit(BlockOp::kRead, 1024);
  pass(400ms);
  EXPECT_THAT(offsets(BlockOp::kRead), ElementsAre(0, 0, 512, 1024));
  EXPECT_THAT(offsets(BlockOp::kWrite), ElementsAre(512, 1024));
  pass(1s);
  EXPECT_THAT(offsets(BlockOp::kWrite), ElementsAre(512, 1024, 1536, 2048, 2560, 3072));
}

TEST_F(ThrottledDiskTest, NobodyOvertakesWhoWaits) {
  make({.read_bytes = {.per_second = 1000}});
  submit(BlockOp::kRead, 0, 65536);
  submit(BlockOp::kRead, 512, 512);
  now_ += 1h;  // it may go, and the loop has not turned yet
  submit(BlockOp::kRead, 1024, 512);
  EXPECT_THAT(offsets(BlockOp::kRead), ElementsAre(0, 512));
  pass(1s);
  EXPECT_THAT(offsets(BlockOp::kRead), ElementsAre(0, 512, 1024));
}

TEST_F(ThrottledDiskTest, AFlushNeverWaitsAndCountsAsNothing) {
  make({.total_bytes = {.per_second = 1}, .total_operations = {.per_second = 1}});
  for (int i = 0; i < 100; ++i) {
    submit(BlockOp::kFlush);
  }
  EXPECT_EQ(disk_->flushes(), 100U);
  submit(BlockOp::kWrite);
  EXPECT_THAT(ends_, SizeIs(101));
  submit(BlockOp::kWrite);
  submit(BlockOp::kFlush);
  EXPECT_EQ(disk_->flushes(), 101U);
  EXPECT_THAT(offsets(BlockOp::kWrite), SizeIs(1));
}

TEST_F(ThrottledDiskTest, ADiscardMovesNoBytesAndZeroesDo) {
  make({.write_bytes = {.per_second = 1000}});
  submit(BlockOp::kDiscard, 0, 1 << 20);
  submit(BlockOp::kDiscard, 0, 1 << 20);
  submit(BlockOp::kWriteZeroes, 0, 1 << 20);
  EXPECT_THAT(ends_, SizeIs(3));
  submit(BlockOp::kWrite);
  EXPECT_THAT(ends_, SizeIs(3));
  pass(1049s);
  EXPECT_THAT(ends_, SizeIs(4));

  make({.write_operations = {.per_second = 10}});
  ends_.clear();
  for (int i = 0; i < 3; ++i) {
    submit(BlockOp::kDiscard, 0, 512);
  }
  EXPECT_THAT(ends_, SizeIs(2));
}

TEST_F(ThrottledDiskTest, ALongOperationCountsAsSeveralWhereThatIsWanted) {
  make({.total_operations = {.per_second = 10}, .operation_bytes = 4096});
  submit(BlockOp::kRead, 0, 65536);  // 16 of them
  submit(BlockOp::kRead, 0, 512);
  pass(1499ms);
  EXPECT_THAT(ends_, SizeIs(1));
  pass(2ms);
  EXPECT_THAT(ends_, SizeIs(2));
}

TEST_F(ThrottledDiskTest, IsFullWithSoManyWaiting) {
  make({.total_operations = {.per_second = 1}});
  uint32_t submitted = 0;
  for (; throttled_->can_accept() && submitted < 10'000; ++submitted) {
    submit(BlockOp::kWrite);
  }
  EXPECT_EQ(throttled_->in_flight(), kRequestsInFlight);
  EXPECT_EQ(submitted, kRequestsInFlight + 1);
  pass(1s);
  EXPECT_TRUE(throttled_->can_accept());
}

TEST_F(ThrottledDiskTest, ADiskThatIsFullIsNotGivenMoreAndGoesOnWhenItIsNot) {
  make(kTenOperations);
  disk_->set_deferred(true);
  disk_->set_capacity(2);
  submit(BlockOp::kRead);
  EXPECT_TRUE(throttled_->can_accept());
  submit(BlockOp::kRead);
  EXPECT_FALSE(throttled_->can_accept());
  submit(BlockOp::kRead);  // as the next range of a discard comes: unasked
  pass(1s);
  EXPECT_THAT(disk_->history(), SizeIs(2));
  disk_->complete_oldest();
  loop_->run_once(0s);
  EXPECT_THAT(disk_->history(), SizeIs(3));
  disk_->complete_all();
  EXPECT_EQ(throttled_->in_flight(), 0U);
}

TEST_F(ThrottledDiskTest, DroppedRequestsEndAtOnceAndAreNotDone) {
  make(kTenOperations);
  for (int i = 0; i < 5; ++i) {
    submit(BlockOp::kWrite);
  }
  throttled_->drop_waiting();
  EXPECT_THAT(ends_, ElementsAre(IoStatus::kOk, IoStatus::kOk, IoStatus::kIoError, IoStatus::kIoError,
                                 IoStatus::kIoError));
  EXPECT_EQ(throttled_->in_flight(), 0U);
  pass(10s);
  EXPECT_THAT(disk_->history(), SizeIs(2));
}

TEST_F(ThrottledDiskTest, ADriverThatResetsItsDeviceAgainAndAgainGetsNoMore) {
  make(kTenOperations);
  for (int reset = 0; reset < 100; ++reset) {
    for (int i = 0; i < 50; ++i) {
      submit(BlockOp::kWrite);
    }
    throttled_->drop_waiting();
    pass(100ms);
  }
  EXPECT_THAT(disk_->history(), SizeIs(AllOf(Ge(99U), Le(102U))));
}

TEST_F(ThrottledDiskTest, WhatWaitsBelowIsDroppedToo) {
  make(kTenOperations);
  disk_->set_deferred(true);
  disk_->set_limited(true);
  submit(BlockOp::kWrite);
  ASSERT_EQ(disk_->in_flight(), 1U);
  throttled_->drop_waiting();
  EXPECT_THAT(ends_, ElementsAre(IoStatus::kIoError));
}

TEST_F(ThrottledDiskTest, LettingThroughEndsTheWaiting) {
  make(kTenOperations);
  for (int i = 0; i < 22; ++i) {
    submit(BlockOp::kWrite);
  }
  throttled_->let_through();
  EXPECT_THAT(ends_, SizeIs(22));
  submit(BlockOp::kWrite);
  EXPECT_THAT(ends_, SizeIs(23));
}

TEST_F(ThrottledDiskTest, ErrorsComeThrough) {
  make(kTenOperations);
  disk_->fail_next(BlockOp::kWrite, IoStatus::kNoSpace);
  submit(BlockOp::kWrite);
  submit(BlockOp::kWrite, 1 << 20);
  EXPECT_THAT(ends_, ElementsAre(IoStatus::kNoSpace, IoStatus::kOutOfRange));
}

TEST_F(ThrottledDiskTest, TheLoopIsWokenOnceForAllThatWait) {
  make(kTenOperations);
  for (int i = 0; i < 4; ++i) {
    submit(BlockOp::kWrite);
  }
  ASSERT_TRUE(woken_at_);
  EXPECT_EQ(*woken_at_, now_ + 100ms);
  woken_at_.reset();
  submit(BlockOp::kWrite);
  now_ += 50ms;
  loop_->run_once(0s);
  EXPECT_FALSE(woken_at_);
}

TEST_F(ThrottledDiskTest, WithoutALimitNothingWaits) {
  make({});
  for (int i = 0; i < 1000; ++i) {
    submit(BlockOp::kRead);
  }
  EXPECT_THAT(ends_, SizeIs(1000));
  EXPECT_FALSE(woken_at_);
}

TEST_F(ThrottledDiskTest, ALimitThatIsSetLaterCountsFromThenOn) {
  make({});
  for (int i = 0; i < 100; ++i) {
    submit(BlockOp::kRead);
  }
  ASSERT_TRUE(throttled_->set_limits(kTenOperations));
  for (int i = 0; i < 4; ++i) {
    submit(BlockOp::kRead);
  }
  EXPECT_LT(ends_.size(), 104U);
  pass(1s);
  EXPECT_THAT(ends_, SizeIs(104));
}

TEST_F(ThrottledDiskTest, WhatWaitsGoesWhenItsLimitIsTakenAway) {
  make(kTenOperations);
  for (int i = 0; i < 50; ++i) {
    submit(BlockOp::kWrite, static_cast<uint64_t>(i) * 512);
  }
  EXPECT_LT(ends_.size(), 50U);
  ASSERT_TRUE(throttled_->set_limits({}));
  EXPECT_THAT(ends_, SizeIs(50));
  submit(BlockOp::kRead);
  EXPECT_THAT(ends_, SizeIs(51));
}

TEST_F(ThrottledDiskTest, WhatWaitsGoesByTheNewLimit) {
  make({.total_operations = {.per_second = 1}});
  for (int i = 0; i < 20; ++i) {
    submit(BlockOp::kWrite);
  }
  const size_t before = ends_.size();
  ASSERT_TRUE(throttled_->set_limits({.total_operations = {.per_second = 1000}}));
  pass(100ms);
  EXPECT_LT(before, 5U);
  EXPECT_THAT(ends_, SizeIs(20));
}

TEST_F(ThrottledDiskTest, WhileSomeWaitNobodyOvertakesThemThoughNothingIsLimitedAnyMore) {
  make(kTenOperations);
  disk_->set_deferred(true);
  disk_->set_capacity(1);
  submit(BlockOp::kWrite, 0);
  submit(BlockOp::kWrite, 512);
  ASSERT_TRUE(throttled_->set_limits({}));
  submit(BlockOp::kWrite, 1024);
  for (int i = 0; i < 3; ++i) {
    disk_->complete_all();
    loop_->run_once(0s);
  }
  EXPECT_THAT(offsets(BlockOp::kWrite), ElementsAre(0, 512, 1024));
}

TEST(ThrottledDisk, ByTheHostsClockALoopComesToItsEnd) {
  auto loop = EventLoop::create();
  ASSERT_TRUE(loop);
  auto disk = std::make_unique<FakeBlockDevice>(4096);
  const FakeBlockDevice& inner = *disk;
  ThrottledDisk throttled(**loop, std::move(disk));
  ASSERT_TRUE(throttled.set_limits({.total_operations = {.per_second = 1000}}));
  int ends = 0;
  for (int i = 0; i < 110; ++i) {
    BlockRequest request;
    request.op = BlockOp::kDiscard;
    request.length_bytes = 512;
    request.completion = Completion(
        [](void* context, uint64_t /*cookie*/, IoStatus /*status*/) { ++*static_cast<int*>(context); }, &ends,
        0);
    throttled.submit(std::move(request));
  }
  EXPECT_LT(ends, 110);
  while (throttled.in_flight() > 0) {
    (*loop)->run_once(10s);
  }
  EXPECT_EQ(ends, 110);
  EXPECT_THAT(inner.history(), SizeIs(110));
}

}  // namespace
}  // namespace vmm::block
