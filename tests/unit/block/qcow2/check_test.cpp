// The checker finds what is wrong, and its repair puts it right.
#include "block/qcow2/check.h"

#include <gmock/gmock.h>

#include "tests/unit/block/qcow2/crafted.h"
#include "tests/unit/block/qcow2/qcow2_world.h"

namespace vmm::block::qcow2 {
namespace {

class Qcow2Check : public testing::Test {
 protected:
  Qcow2Check() {
    options_.create.cluster_bits = 12;
    options_.create.size_bytes = 1 << 20;
    disk_ = make_disk(options_);
    OpenImage image(disk_, options_, false);
    EXPECT_EQ(image.write_value(0, 65536, 7), IoStatus::kOk);
  }

  Header header() { return read_header(*disk_).value(); }
  uint64_t first_refcount_block() { return read_table(*disk_, header().refcount_table_offset, 8).value()[0]; }
  uint64_t first_l2_table() {
    return read_table(*disk_, header().l1_offset, 8).value()[0] & kEntryOffsetMask;
  }
  void put_be64(uint64_t offset, uint64_t value) {
    std::array<std::byte, 8> bytes{};
    store_be<uint64_t>(bytes.data(), value);
    ASSERT_TRUE(disk_->write(FileOffset(offset), bytes));
  }
  void set_refcount(uint64_t cluster, uint16_t value) {
    std::array<std::byte, 2> bytes{};
    store_be<uint16_t>(bytes.data(), value);
    ASSERT_TRUE(disk_->write(FileOffset(first_refcount_block() + cluster * 2), bytes));
  }
  uint64_t last_cluster() { return disk_->content().size() / 4096 - 1; }
  CheckResult repaired(Repair what) {
    Header now = header();
    return repair(*disk_, now, what).value();
  }
  void expect_content() {
    OpenImage image(disk_, options_, true);
    const auto content = image.read_all();
    for (size_t at = 0; at < content.size(); at += 8) {
      ASSERT_EQ(load_le<uint64_t>(content.data() + at), at < 65536 ? 7 : 0) << at;
    }
  }

  WorldOptions options_;
  std::shared_ptr<CrashDisk> disk_;
};

TEST_F(Qcow2Check, AFreshlyWrittenImageIsClean) {
  const CheckResult result = check_of(*disk_);
  EXPECT_TRUE(result.is_clean()) << text_of(result);
  EXPECT_EQ(result.allocated_clusters, 16U);
  EXPECT_EQ(result.total_clusters, 256U);
  EXPECT_EQ(result.image_end_offset, disk_->content().size());
}

TEST_F(Qcow2Check, ARefcountTooSmallIsACorruption) {
  set_refcount(last_cluster(), 0);
  EXPECT_GE(check_of(*disk_).corruptions, 1U);
  EXPECT_TRUE(repaired(Repair::kAll).is_clean());
  expect_content();
}

TEST_F(Qcow2Check, ARefcountTooLargeIsALeak) {
  set_refcount(last_cluster() + 0, 1);
  set_refcount(5, 9);
  const CheckResult result = check_of(*disk_);
  EXPECT_EQ(result.leaks, 1U);
  static_cast<void>(repaired(Repair::kLeaks));
  EXPECT_TRUE(check_of(*disk_).is_clean());
}

TEST_F(Qcow2Check, AWrongCopiedFlagIsACorruption) {
  const uint64_t entry = read_table(*disk_, first_l2_table(), 8).value()[0];
  put_be64(first_l2_table(), entry & ~kEntryCopied);
  EXPECT_EQ(check_of(*disk_).corruptions, 1U);
  EXPECT_TRUE(repaired(Repair::kAll).is_clean());
  EXPECT_EQ(read_table(*disk_, first_l2_table(), 8).value()[0], entry);
}

TEST_F(Qcow2Check, AnEntryPastTheEndOfTheFileIsACorruption) {
  put_be64(first_l2_table() + 8, (uint64_t{1} << 40U) | kEntryCopied);
  EXPECT_GE(check_of(*disk_).corruptions, 1U);
}

TEST_F(Qcow2Check, WhatAnL2TablePastTheEndOfTheFileWouldHoldIsAnErrorAndNotZeroes) {
  put_be64(header().l1_offset, disk_->content().size() | kEntryCopied);
  std::array<std::byte, 4096> bytes{};
  OpenImage image(disk_, options_, true);
  EXPECT_EQ(image.transfer(BlockOp::kRead, 0, bytes), IoStatus::kIoError);
}

TEST_F(Qcow2Check, RefcountBlocksThatAreGoneAreWrittenAnew) {
  put_be64(header().refcount_table_offset, 0);
  EXPECT_GE(check_of(*disk_).corruptions, 1U);
  const CheckResult result = repaired(Repair::kAll);
  EXPECT_TRUE(result.is_clean()) << text_of(result);
  expect_content();
}

TEST_F(Qcow2Check, ADirtyImageIsRepairedWhenItIsOpenedForWriting) {
  set_refcount(last_cluster(), 0);
  put_be64(kIncompatibleFieldOffset, kIncompatibleDirty);
  {
    OpenImage image(disk_, options_, false);
    EXPECT_EQ(image.write_value(65536, 4096, 0), IoStatus::kOk);
  }
  EXPECT_EQ(header().incompatible, 0U);
  const CheckResult result = check_of(*disk_);
  EXPECT_TRUE(result.is_clean()) << text_of(result);
  expect_content();
}

TEST_F(Qcow2Check, ACorruptImageIsRefusedForWriting) {
  put_be64(kIncompatibleFieldOffset, kIncompatibleCorrupt);
  Header now = header();
  const Status status = prepare_for_writing(*disk_, now);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), testing::HasSubstr("marked as corrupt"));
}

TEST_F(Qcow2Check, ABitmapDirectoryPastTheEndOfTheFileIsDamageAndIsNotWrittenTo) {
  Header now = header();
  now.autoclear = kAutoclearBitmaps;
  now.bitmaps =
      BitmapsExtension{.count = 1, .directory_bytes = 60'000'000, .directory_offset = last_cluster() * 4096};
  ASSERT_TRUE(write_header(*disk_, now));
  EXPECT_GE(check_of(*disk_).corruptions, 1U);
  const uint64_t bytes = disk_->content().size();
  const Status status = prepare_for_writing(*disk_, now);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), testing::HasSubstr("bitmap directory"));
  EXPECT_EQ(disk_->content().size(), bytes);
}

TEST_F(Qcow2Check, SnapshotsAndCompressedClustersAreCounted) {
  Crafter crafter(*disk_);
  crafter.add_compressed(100, 5);
  crafter.add_compressed(101, 6);
  crafter.finish();
  Crafter again(*disk_);
  again.add_snapshot();
  again.finish();
  const CheckResult result = check_of(*disk_);
  EXPECT_TRUE(result.is_clean()) << text_of(result);
  EXPECT_EQ(result.compressed_clusters, 2U);
}

}  // namespace
}  // namespace vmm::block::qcow2
