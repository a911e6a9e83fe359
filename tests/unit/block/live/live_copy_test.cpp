#include "block/live/live_copy.h"

#include <gmock/gmock.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tests/unit/block/disk_harness.h"
#include "tests/unit/fakes/fake_block_device.h"

namespace vmm::block {
namespace {

using testing::HasSubstr;

constexpr uint64_t kChunk = WorkMap::kMinChunkBytes;
constexpr uint64_t kCopiedBytes = 20 * kChunk;

class LiveCopyTest : public testing::Test {
 protected:
  LiveCopyTest() : target_(kCopiedBytes) {
    auto fake = std::make_unique<FakeBlockDevice>(kCopiedBytes);
    source_ = fake.get();
    const auto bytes = pattern_bytes(kCopiedBytes, 3);
    std::ranges::copy(bytes, source_->bytes().begin());
    disk_.emplace(*loop_, std::move(fake), DiskOptions{.path = "disk"});
  }
  ~LiveCopyTest() override {
    for (FakeBlockDevice* each : {source_, &target_}) {
      each->set_deferred(false);
      each->complete_all();
    }
    copy_->stop();
    loop_.run_until([this] { return copy_->is_quiet(); });
    disk_->set_watcher(nullptr);
    copy_.reset();
  }

  void start(LiveCopy::GuestWrites guest_writes, bool is_deferred = false) {
    auto copy = LiveCopy::create(*disk_,
                                 {.source = source_,
                                  .target = &target_,
                                  .judge = [](const BlockRun&) { return LiveCopy::Wanted::kData; },
                                  .guest_writes = guest_writes,
                                  .source_name = "the source",
                                  .target_name = "the target",
                                  .done_bytes = &done_bytes_},
                                 [this](const Status& status) { end_ = status; });
    ASSERT_TRUE(copy);
    copy_ = *std::move(copy);
    bool is_watched = false;
    disk_->when_quiet([&](IoStatus /*flushed*/) {
      disk_->set_watcher(copy_.get());
      copy_->start();
      source_->set_deferred(is_deferred);
      is_watched = true;
    });
    loop_.run_until([&] { return is_watched; });
  }
  void turn(int times = 1) {
    for (int i = 0; i < times; ++i) {
      loop_->run_once(std::chrono::nanoseconds(0));
    }
  }
  void change(Pending& pending, BlockOp op, uint64_t offset) {
    vector_ = {.iov_base = data_.data(), .iov_len = data_.size()};
    BlockRequest request{
        .op = op, .offset = DiskOffset(offset), .length_bytes = 512, .completion = pending.completion()};
    if (op == BlockOp::kWrite) {
      request.buffers = std::span(&vector_, 1);
    }
    disk_->submit(std::move(request));
  }
  bool is_equal() { return std::ranges::equal(source_->bytes(), target_.bytes()); }
  Status wait_end() {
    loop_.run_until([this] { return end_.has_value(); });
    return *end_;
  }

  Loop loop_;
  FakeBlockDevice* source_ = nullptr;
  FakeBlockDevice target_;
  std::optional<LiveDisk> disk_;
  std::atomic<uint64_t> done_bytes_{0};
  std::unique_ptr<LiveCopy> copy_;
  std::optional<Status> end_;
  std::vector<std::byte> data_ = pattern_bytes(512, 9);
  iovec vector_{};
};

TEST_F(LiveCopyTest, AllIsCopiedWithSoManyWorkers) {
  start(LiveCopy::GuestWrites::kPass, /*is_deferred=*/true);
  turn(3);
  EXPECT_EQ(source_->in_flight(), LiveCopy::kWorkers);
  source_->set_deferred(false);
  source_->complete_all();
  ASSERT_TRUE(wait_end());
  EXPECT_TRUE(is_equal());
  EXPECT_EQ(done_bytes_, kCopiedBytes);
}

TEST_F(LiveCopyTest, AWriteToWhatIsBeingCopiedWaits) {
  start(LiveCopy::GuestWrites::kMirrored, /*is_deferred=*/true);
  turn(3);
  Pending written;
  change(written, BlockOp::kWriteZeroes, 0);
  turn(3);
  EXPECT_FALSE(written.is_done());
  EXPECT_EQ(source_->in_flight(), LiveCopy::kWorkers);
  source_->set_deferred(false);
  source_->complete_all();
  ASSERT_TRUE(wait_end());
  loop_.run_until([&] { return written.is_done(); });
  EXPECT_TRUE(is_equal());
}

TEST_F(LiveCopyTest, WhatIsUnderWayIsWaitedFor) {
  Pending written;
  start(LiveCopy::GuestWrites::kMirrored, /*is_deferred=*/true);
  copy_->set_paused(true);
  turn();
  // The first chunks may have begun before the pause.
  change(written, BlockOp::kWriteZeroes, 19 * kChunk);
  copy_->set_paused(false);
  for (int i = 0; i < 60; ++i) {
    while (source_->in_flight() > 1) {
      source_->complete_newest();
    }
    turn();
  }
  EXPECT_FALSE(written.is_done() && end_.has_value());
  source_->set_deferred(false);
  source_->complete_all();
  ASSERT_TRUE(wait_end());
  EXPECT_TRUE(is_equal());
}

TEST_F(LiveCopyTest, WhatSucceedsIsMirroredAndWhatFailsCopiedAgain) {
  start(LiveCopy::GuestWrites::kMirrored);
  ASSERT_TRUE(wait_end());
  Pending written;
  change(written, BlockOp::kWrite, 5 * kChunk + 512);
  EXPECT_TRUE(written.is_done());
  EXPECT_TRUE(is_equal());
  Pending discarded;
  change(discarded, BlockOp::kDiscard, 7 * kChunk);
  EXPECT_TRUE(discarded.is_done());
  EXPECT_TRUE(copy_->is_quiet());
  EXPECT_TRUE(is_equal());
  source_->fail_next(BlockOp::kWrite, IoStatus::kIoError);
  Pending failed;
  change(failed, BlockOp::kWrite, 9 * kChunk);
  EXPECT_EQ(failed.status(), IoStatus::kIoError);
  EXPECT_FALSE(copy_->is_quiet());
  loop_.run_until([this] { return copy_->is_quiet(); });
  EXPECT_TRUE(is_equal());
}

TEST_F(LiveCopyTest, WhatIsCopiedAfterwardsHoldsWhatWasThereBefore) {
  const std::vector<std::byte> before(source_->bytes().begin(), source_->bytes().end());
  start(LiveCopy::GuestWrites::kAfter);
  copy_->set_paused(true);
  Pending written;
  change(written, BlockOp::kWrite, 18 * kChunk);
  loop_.run_until([&] { return written.is_done(); });
  copy_->set_paused(false);
  ASSERT_TRUE(wait_end());
  EXPECT_TRUE(std::ranges::equal(before, target_.bytes()));
  EXPECT_FALSE(is_equal());
}

TEST_F(LiveCopyTest, AFaultOfTheHostEndsItAndNothingElse) {
  source_->fail_next(BlockOp::kRead, IoStatus::kIoError);
  start(LiveCopy::GuestWrites::kAfter);
  const Status end = wait_end();
  ASSERT_FALSE(end);
  EXPECT_THAT(end.error().message(), HasSubstr("the source: what is at offset"));
  EXPECT_EQ(copy_->fault(), LiveCopy::Fault::kReading);
  Pending written;
  change(written, BlockOp::kWrite, 0);
  EXPECT_EQ(written.status(), IoStatus::kOk);
}

TEST_F(LiveCopyTest, ATargetThatIsFullIsNamed) {
  target_.fail_next(BlockOp::kWrite, IoStatus::kNoSpace);
  start(LiveCopy::GuestWrites::kPass);
  const Status end = wait_end();
  ASSERT_FALSE(end);
  EXPECT_THAT(end.error().message(), HasSubstr("the target"));
  EXPECT_THAT(end.error().message(), HasSubstr("no space left"));
  EXPECT_EQ(copy_->fault(), LiveCopy::Fault::kWriting);
}

TEST_F(LiveCopyTest, AMirrorThatFailsIsNoFaultOfTheGuests) {
  start(LiveCopy::GuestWrites::kMirrored);
  ASSERT_TRUE(wait_end());
  target_.fail_next(BlockOp::kWrite, IoStatus::kNoSpace);
  Pending written;
  change(written, BlockOp::kWrite, 0);
  EXPECT_EQ(written.status(), IoStatus::kOk);
  EXPECT_FALSE(copy_->status());
  // Who waits for its end hears of it.
  loop_.run_until([this] { return !*end_; });
  Pending again;
  const size_t before = target_.history().size();
  change(again, BlockOp::kWrite, 0);
  EXPECT_EQ(again.status(), IoStatus::kOk);
  EXPECT_EQ(target_.history().size(), before);
}

TEST_F(LiveCopyTest, WithASpeedOneChunkIsUnderWay) {
  start(LiveCopy::GuestWrites::kPass, /*is_deferred=*/true);
  copy_->set_speed(1);
  turn(3);
  const uint32_t begun = source_->in_flight();
  source_->set_deferred(false);
  source_->complete_all();
  turn(5);
  // What was begun before counts when it is over; then it waits for days.
  EXPECT_LE(source_->history().size(), begun + 2U);
  EXPECT_FALSE(end_.has_value());
  copy_->set_speed(0);
  ASSERT_TRUE(wait_end());
  EXPECT_TRUE(is_equal());
}

}  // namespace
}  // namespace vmm::block
