// Error policies: what a guest sees of the host's errors.
#include "block/error_policy.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/unit/fakes/fake_block_device.h"

namespace vmm::block {
namespace {

class ErrorPolicyTest : public testing::Test {
 protected:
  void make(const ErrorPolicies& policies) {
    auto disk = std::make_unique<FakeBlockDevice>(4096);
    disk_ = disk.get();
    device_ = std::make_unique<ErrorPolicyDevice>(
        std::move(disk), policies, [this](IoStatus status) { pauses_.push_back(status); },
        [this](BlockOp op, ErrorPolicy action, IoStatus status) {
          errors_.emplace_back(op, action, status);
        });
  }

  void submit(BlockOp op, uint64_t offset = 0) {
    BlockRequest request;
    request.op = op;
    request.offset = DiskOffset(offset);
    request.length_bytes = op == BlockOp::kFlush ? 0 : bytes_.size();
    if (op == BlockOp::kRead || op == BlockOp::kWrite) {
      request.buffers = std::span(&buffer_, 1);
    }
    request.completion =
        Completion([](void* context, uint64_t /*cookie*/,
                      IoStatus status) { static_cast<ErrorPolicyTest*>(context)->ends_.push_back(status); },
                   this, 0);
    device_->submit(std::move(request));
  }

  std::array<std::byte, 512> bytes_{std::byte{7}};
  iovec buffer_{.iov_base = bytes_.data(), .iov_len = bytes_.size()};
  FakeBlockDevice* disk_ = nullptr;
  std::unique_ptr<ErrorPolicyDevice> device_;
  std::vector<IoStatus> ends_;
  std::vector<IoStatus> pauses_;
  std::vector<std::tuple<BlockOp, ErrorPolicy, IoStatus>> errors_;
};

TEST_F(ErrorPolicyTest, EachErrorIsToldWithWhatIsDoneAboutIt) {
  make({.write = ErrorPolicy::kEnospace, .read = ErrorPolicy::kIgnore});
  disk_->fail_next(BlockOp::kRead, IoStatus::kIoError);
  disk_->fail_next(BlockOp::kWrite, IoStatus::kIoError);
  disk_->fail_next(BlockOp::kFlush, IoStatus::kNoSpace);
  submit(BlockOp::kRead);
  submit(BlockOp::kWrite);
  submit(BlockOp::kFlush);
  submit(BlockOp::kRead, uint64_t{1} << 40U);  // the guest's fault
  using Error = std::tuple<BlockOp, ErrorPolicy, IoStatus>;
  EXPECT_EQ(errors_, (std::vector<Error>{{BlockOp::kRead, ErrorPolicy::kIgnore, IoStatus::kIoError},
                                         {BlockOp::kWrite, ErrorPolicy::kReport, IoStatus::kIoError},
                                         {BlockOp::kFlush, ErrorPolicy::kStop, IoStatus::kNoSpace}}));
  device_->give_up();
  EXPECT_EQ(errors_.size(), 3U);
}

TEST_F(ErrorPolicyTest, ReportGivesTheErrorToTheGuest) {
  make({.write = ErrorPolicy::kReport, .read = ErrorPolicy::kStop});
  disk_->fail_next(BlockOp::kWrite, IoStatus::kNoSpace);
  submit(BlockOp::kWrite);
  EXPECT_EQ(ends_, std::vector{IoStatus::kNoSpace});
  EXPECT_TRUE(pauses_.empty());
}

TEST_F(ErrorPolicyTest, IgnoreTellsTheGuestThatAllIsWell) {
  make({.write = ErrorPolicy::kIgnore});
  disk_->fail_next(BlockOp::kFlush, IoStatus::kIoError);
  submit(BlockOp::kFlush);
  EXPECT_EQ(ends_, std::vector{IoStatus::kOk});
}

TEST_F(ErrorPolicyTest, StopHoldsTheRequestUntilItSucceeds) {
  make({.write = ErrorPolicy::kStop});
  disk_->fail_next(BlockOp::kWrite, IoStatus::kIoError, 2);
  submit(BlockOp::kWrite, 512);
  EXPECT_TRUE(ends_.empty());
  EXPECT_TRUE(device_->is_holding());
  EXPECT_EQ(device_->in_flight(), 1U);

  device_->resume();  // fails once more
  EXPECT_TRUE(ends_.empty());
  EXPECT_EQ(pauses_, (std::vector{IoStatus::kIoError, IoStatus::kIoError}));

  device_->resume();
  EXPECT_EQ(ends_, std::vector{IoStatus::kOk});
  EXPECT_FALSE(device_->is_holding());
  EXPECT_EQ(disk_->bytes()[512], std::byte{7});
}

TEST_F(ErrorPolicyTest, OnePauseForAllRequestsThatFailTogether) {
  make({.write = ErrorPolicy::kStop});
  disk_->fail_next(BlockOp::kWrite, IoStatus::kNoSpace, 3);
  submit(BlockOp::kWrite, 0);
  submit(BlockOp::kWrite, 512);
  submit(BlockOp::kWrite, 1024);
  EXPECT_EQ(pauses_.size(), 1U);
  device_->resume();
  EXPECT_EQ(ends_, (std::vector{IoStatus::kOk, IoStatus::kOk, IoStatus::kOk}));
}

TEST_F(ErrorPolicyTest, EnospaceStopsForAFullDiskOnly) {
  make({.write = ErrorPolicy::kEnospace});
  disk_->fail_next(BlockOp::kWrite, IoStatus::kIoError);
  submit(BlockOp::kWrite);
  EXPECT_EQ(ends_, std::vector{IoStatus::kIoError});
  EXPECT_TRUE(pauses_.empty());
  disk_->fail_next(BlockOp::kWrite, IoStatus::kNoSpace);
  submit(BlockOp::kWrite);
  EXPECT_EQ(ends_.size(), 1U);
  EXPECT_EQ(pauses_, std::vector{IoStatus::kNoSpace});
  device_->resume();
}

TEST_F(ErrorPolicyTest, WhatTheGuestAskedWronglyIsReportedUnderEveryPolicy) {
  make({.write = ErrorPolicy::kStop, .read = ErrorPolicy::kIgnore});
  submit(BlockOp::kWrite, 4096);
  submit(BlockOp::kRead, 4096);
  disk_->set_read_only(true);
  submit(BlockOp::kWrite, 0);
  EXPECT_EQ(ends_, (std::vector{IoStatus::kOutOfRange, IoStatus::kOutOfRange, IoStatus::kReadOnly}));
}

TEST_F(ErrorPolicyTest, ReadsHaveAPolicyOfTheirOwn) {
  make({.write = ErrorPolicy::kReport, .read = ErrorPolicy::kStop});
  disk_->fail_next(BlockOp::kRead, IoStatus::kIoError);
  submit(BlockOp::kRead);
  EXPECT_TRUE(device_->is_holding());
  device_->resume();
  EXPECT_EQ(ends_, std::vector{IoStatus::kOk});
}

TEST_F(ErrorPolicyTest, GivingUpReportsTheErrorsThatWereHeld) {
  make({.write = ErrorPolicy::kStop});
  disk_->fail_next(BlockOp::kWrite, IoStatus::kNoSpace);
  disk_->fail_next(BlockOp::kFlush, IoStatus::kIoError);
  submit(BlockOp::kWrite);
  submit(BlockOp::kFlush);
  device_->give_up();
  EXPECT_EQ(ends_, (std::vector{IoStatus::kNoSpace, IoStatus::kIoError}));
  EXPECT_EQ(device_->in_flight(), 0U);
}

TEST_F(ErrorPolicyTest, WhatNobodyWantsAnyMoreIsHeldNoLonger) {
  make({.write = ErrorPolicy::kStop, .read = ErrorPolicy::kStop});
  disk_->fail_next(BlockOp::kWrite, IoStatus::kNoSpace);
  submit(BlockOp::kWrite);
  disk_->set_deferred(true);
  disk_->set_limited(true);
  submit(BlockOp::kRead);
  EXPECT_TRUE(ends_.empty());
  device_->drop_waiting();
  EXPECT_EQ(ends_, (std::vector{IoStatus::kNoSpace, IoStatus::kIoError}));
  EXPECT_FALSE(device_->is_holding());
}

TEST_F(ErrorPolicyTest, HeldRequestsFillTheDisk) {
  make({.write = ErrorPolicy::kStop});
  disk_->fail_next(BlockOp::kWrite, IoStatus::kNoSpace, 10'000);
  uint32_t submitted = 0;
  while (device_->can_accept()) {
    submit(BlockOp::kWrite);
    ++submitted;
  }
  EXPECT_EQ(device_->in_flight(), submitted);
  device_->give_up();
  EXPECT_TRUE(device_->can_accept());
}

TEST_F(ErrorPolicyTest, NoPolicyCostsNothing) {
  auto disk = std::make_unique<FakeBlockDevice>(4096);
  const BlockDevice* inner = disk.get();
  const auto same = with_error_policies(std::move(disk), {}, nullptr);
  EXPECT_EQ(same.get(), inner);
}

}  // namespace
}  // namespace vmm::block
