#include "block/live/live_disk.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tests/unit/block/disk_harness.h"
#include "tests/unit/fakes/fake_block_device.h"

namespace vmm::block {
namespace {

constexpr uint64_t kDiskBytes = 1 << 20;

// Does as it is told.
class FakeWatcher : public LiveDisk::Watcher {
 public:
  bool may_begin(const ByteRange& range) override {
    asked.push_back(range.begin);
    return lets_begin;
  }
  bool wants_zeroes_for_discards() const override { return wants_zeroes; }
  BlockDevice* mirror_for(const BlockRequest& request) override {
    ops.push_back(request.op);
    return mirror;
  }
  void mirror_failed(IoStatus status) override { failed = status; }
  void has_ended(const BlockRequest& /*request*/, IoStatus /*status*/) override { ++ended; }
  bool is_quiet() const override { return is_idle; }
  BlockDevice* target() override { return mirror; }

  bool lets_begin = true;
  bool wants_zeroes = false;
  bool is_idle = true;
  BlockDevice* mirror = nullptr;
  std::vector<uint64_t> asked;
  std::vector<BlockOp> ops;
  std::optional<IoStatus> failed;
  int ended = 0;
};

class LiveDiskTest : public testing::Test {
 protected:
  LiveDiskTest() {
    auto fake = std::make_unique<FakeBlockDevice>(kDiskBytes);
    fake_ = fake.get();
    disk_.emplace(*loop_, std::move(fake), DiskOptions{.path = "disk"});
  }
  ~LiveDiskTest() override {
    disk_->set_watcher(nullptr);
    finish();
  }

  // Before the requests of a test go.
  void finish() {
    fake_->set_deferred(false);
    fake_->complete_all();
    turn();
  }

  void turn() { loop_->run_once(std::chrono::nanoseconds(0)); }
  void write(Pending& pending, uint64_t offset = 0) {
    disk_->submit({.op = BlockOp::kWriteZeroes,
                   .offset = DiskOffset(offset),
                   .length_bytes = 512,
                   .completion = pending.completion()});
  }
  void watch(LiveDisk::Watcher& watcher) {
    bool is_done = false;
    disk_->when_quiet([&](IoStatus /*flushed*/) {
      disk_->set_watcher(&watcher);
      is_done = true;
    });
    loop_.run_until([&] { return is_done; });
  }

  Loop loop_;
  FakeBlockDevice* fake_ = nullptr;
  std::optional<LiveDisk> disk_;
};

TEST_F(LiveDiskTest, WithoutAJobRequestsPass) {
  Pending pending;
  write(pending);
  EXPECT_TRUE(pending.is_done());
  EXPECT_EQ(disk_->in_flight(), 0U);
}

TEST_F(LiveDiskTest, ATaskComesWhenNothingIsInFlightAndAllIsFlushed) {
  fake_->set_deferred(true);
  Pending before;
  Pending after;
  write(before);
  bool is_called = false;
  disk_->when_quiet([&](IoStatus flushed) {
    EXPECT_EQ(flushed, IoStatus::kOk);
    EXPECT_EQ(fake_->in_flight(), 0U);
    is_called = true;
  });
  write(after);
  turn();
  EXPECT_FALSE(is_called);
  EXPECT_EQ(fake_->flushes(), 0U);
  fake_->complete_all();
  EXPECT_TRUE(before.is_done());
  turn();
  ASSERT_EQ(fake_->flushes(), 1U);
  EXPECT_FALSE(is_called);
  fake_->set_deferred(false);
  fake_->complete_all();
  loop_.run_until([&] { return is_called && after.is_done(); });
  EXPECT_EQ(after.status(), IoStatus::kOk);
}

TEST_F(LiveDiskTest, AFlushThatFailsIsToldToTheTask) {
  fake_->fail_next(BlockOp::kFlush, IoStatus::kIoError);
  std::optional<IoStatus> told;
  disk_->when_quiet([&](IoStatus flushed) { told = flushed; });
  loop_.run_until([&] { return told.has_value(); });
  EXPECT_EQ(*told, IoStatus::kIoError);
}

TEST_F(LiveDiskTest, ATaskThatWaitsForTheHostCanBeForgotten) {
  fake_->set_deferred(true);
  Pending stuck;
  Pending waiting;
  write(stuck);
  disk_->when_quiet([](IoStatus /*flushed*/) { FAIL(); });
  write(waiting, 512);
  turn();
  EXPECT_EQ(fake_->in_flight(), 1U);
  EXPECT_TRUE(disk_->forget_task());
  EXPECT_FALSE(disk_->forget_task());
  turn();
  EXPECT_EQ(fake_->in_flight(), 2U);
  finish();
}

TEST_F(LiveDiskTest, WhatTheWatcherKeepsWaitsAndTheRestPasses) {
  FakeWatcher watcher;
  watch(watcher);
  watcher.lets_begin = false;
  Pending written;
  write(written, 4096);
  EXPECT_FALSE(written.is_done());
  EXPECT_EQ(watcher.asked.front(), 4096U);
  Pending read;
  std::vector<std::byte> bytes(512);
  const iovec buffer{.iov_base = bytes.data(), .iov_len = bytes.size()};
  disk_->submit({.op = BlockOp::kRead,
                 .length_bytes = 512,
                 .buffers = std::span(&buffer, 1),
                 .completion = read.completion()});
  EXPECT_TRUE(read.is_done());
  watcher.lets_begin = true;
  turn();
  EXPECT_TRUE(written.is_done());
  EXPECT_EQ(watcher.ended, 1);
}

TEST_F(LiveDiskTest, AMirroredWriteEndsWithBothAndFailsForItsOwnDiskAlone) {
  FakeBlockDevice mirror(kDiskBytes);
  mirror.set_deferred(true);
  FakeWatcher watcher;
  watcher.mirror = &mirror;
  watch(watcher);
  ASSERT_EQ(mirror.flushes(), 0U);
  mirror.fail_next(BlockOp::kWriteZeroes, IoStatus::kNoSpace);
  Pending written;
  write(written);
  EXPECT_TRUE(disk_->has_write_in({.begin = 100, .end = 101}));
  EXPECT_FALSE(disk_->has_write_in({.begin = 512, .end = 1024}));
  EXPECT_FALSE(written.is_done());
  mirror.complete_all();
  ASSERT_TRUE(written.is_done());
  EXPECT_EQ(written.status(), IoStatus::kOk);
  EXPECT_EQ(watcher.failed, IoStatus::kNoSpace);
  disk_->set_watcher(nullptr);
}

TEST_F(LiveDiskTest, DiscardsAreZeroesWhereThatIsWanted) {
  FakeWatcher watcher;
  watch(watcher);
  for (const bool wants_zeroes : {false, true}) {
    watcher.wants_zeroes = wants_zeroes;
    Pending discarded;
    disk_->submit({.op = BlockOp::kDiscard, .length_bytes = 512, .completion = discarded.completion()});
    ASSERT_TRUE(discarded.is_done());
    EXPECT_EQ(discarded.status(), IoStatus::kOk);
  }
  EXPECT_EQ(watcher.ops, (std::vector{BlockOp::kDiscard, BlockOp::kWriteZeroes}));
}

TEST_F(LiveDiskTest, ADiskThatIsFullIsNotGivenMore) {
  FakeWatcher watcher;
  watch(watcher);
  fake_->set_deferred(true);
  fake_->set_capacity(1);
  Pending first;
  Pending second;
  write(first);
  write(second, 512);
  EXPECT_EQ(fake_->in_flight(), 1U);
  EXPECT_EQ(disk_->in_flight(), 2U);
  fake_->complete_all();
  turn();
  EXPECT_EQ(fake_->in_flight(), 1U);
  finish();
}

}  // namespace
}  // namespace vmm::block
