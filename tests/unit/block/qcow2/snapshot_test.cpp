// Internal snapshots: what they hold, what others may do afterwards, and what a crash or a full disk leaves.
#include "block/qcow2/snapshot.h"

#include <gmock/gmock.h>

#include "tests/unit/block/qcow2/crafted.h"
#include "tests/unit/block/qcow2/offline.h"

namespace vmm::block::qcow2 {
namespace {

using testing::HasSubstr;

class Qcow2Snapshot : public testing::Test {
 protected:
  static constexpr uint64_t kDiskBytes = 1 << 20;

  explicit Qcow2Snapshot(uint32_t version = 3) {
    options_.create.cluster_bits = 12;
    options_.create.version = version;
    options_.create.size_bytes = kDiskBytes;
    start();
  }

  void start() { disk_ = make_disk(options_); }
  void write(uint64_t offset, uint64_t length, uint64_t value) {
    OpenImage image(disk_, options_, false);
    ASSERT_EQ(image.write_value(offset, length, value), IoStatus::kOk);
  }
  Status run(const Change& change) { return change_image(*disk_, change); }
  std::string refusal(const Change& change) {
    const std::vector<std::byte> before = disk_->content();
    const Status done = run(change);
    EXPECT_EQ(disk_->content(), before) << "something has changed";
    return done ? "done" : done.error().message();
  }
  std::vector<Snapshot> snapshots() {
    return read_snapshot_table(*disk_, read_header(*disk_).value())->snapshots;
  }
  void expect_clean() {
    const CheckResult result = check_of(*disk_);
    EXPECT_TRUE(result.is_clean()) << text_of(result);
  }
  void expect_value(uint64_t offset, uint64_t length, uint64_t value) {
    const auto content = content_of(disk_->content(), options_);
    ASSERT_LE(offset + length, content.size());
    for (uint64_t at = offset; at < offset + length; at += 8) {
      ASSERT_EQ(load_le<uint64_t>(content.data() + at), value) << "at " << at;
    }
  }

  WorldOptions options_;
  std::shared_ptr<CrashDisk> disk_;
};

TEST_F(Qcow2Snapshot, HoldsTheDiskAsItWas) {
  write(0, 65536, 1);
  ASSERT_TRUE(run(creates("first")));
  expect_clean();
  write(4096, 8192, 2);
  write(500'000 / 512 * 512, 512, 3);
  expect_clean();
  ASSERT_TRUE(run(creates("second")));
  write(0, 4096, 4);
  expect_clean();

  ASSERT_TRUE(run(applies("first")));
  expect_clean();
  expect_value(0, 65536, 1);
  expect_value(65536, kDiskBytes - 65536, 0);
  write(0, 512, 5);
  expect_value(0, 512, 5);
  expect_clean();
  ASSERT_TRUE(run(applies("second")));
  expect_clean();
  expect_value(0, 4096, 1);
  expect_value(4096, 8192, 2);
  expect_value(500'000 / 512 * 512, 512, 3);
}

TEST_F(Qcow2Snapshot, AWriterCopiesWhatASnapshotShares) {
  write(0, 65536, 1);
  ASSERT_TRUE(run(creates("s")));
  {
    OpenImage image(disk_, options_, false);
    ASSERT_EQ(image.write_value(0, 512, 2), IoStatus::kOk);
    ASSERT_EQ(image.change(BlockOp::kDiscard, 8192, 4096), IoStatus::kOk);
    ASSERT_EQ(image.change(BlockOp::kWriteZeroes, 16384, 4096), IoStatus::kOk);
  }
  expect_clean();
  const WholeState state = state_of(disk_->content(), options_);
  const auto& held = state.snapshots.at("1 s");
  for (uint64_t at = 0; at < 65536; at += 8) {
    ASSERT_EQ(load_le<uint64_t>(held.data() + at), 1U) << at;
  }
}

TEST_F(Qcow2Snapshot, DeletingTheLastGivesEverythingBackToTheDisk) {
  write(0, 65536, 1);
  ASSERT_TRUE(run(creates("s")));
  write(0, 32768, 2);
  ASSERT_TRUE(run(deletes("s")));
  expect_clean();
  EXPECT_EQ(read_header(*disk_)->snapshot_count, 0U);
  EXPECT_EQ(read_header(*disk_)->snapshots_offset, 0U);
  // In place again: the file does not grow.
  const uint64_t bytes = disk_->content().size();
  write(0, 65536, 3);
  EXPECT_EQ(disk_->content().size(), bytes);
  expect_value(0, 65536, 3);
  expect_clean();
}

TEST_F(Qcow2Snapshot, TheFileDoesNotGrowWithEveryChange) {
  write(0, 65536, 1);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(run(creates("s")));
    ASSERT_TRUE(run(deletes("s")));
  }
  const uint64_t bytes = disk_->content().size();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(run(creates("s")));
    ASSERT_TRUE(run(applies("s")));
    ASSERT_TRUE(run(deletes("s")));
  }
  EXPECT_LE(disk_->content().size(), bytes + 8 * 4096);
  expect_clean();
}

TEST_F(Qcow2Snapshot, IdsAreCountedOnAndNamesMayComeTwice) {
  ASSERT_TRUE(run(creates("same")));
  ASSERT_TRUE(run(creates("same")));
  ASSERT_TRUE(run(creates("1")));
  ASSERT_EQ(snapshots().size(), 3U);
  EXPECT_EQ(snapshots()[1].id, "2");
  EXPECT_EQ(snapshots()[2].id, "3");
  // For a deletion a name counts more than an ID, as in qemu-img.
  ASSERT_TRUE(run(deletes("1")));
  EXPECT_EQ(snapshots()[0].id, "1");
  ASSERT_TRUE(run(deletes("1")));
  ASSERT_EQ(snapshots().size(), 1U);
  EXPECT_EQ(snapshots()[0].id, "2");
  ASSERT_TRUE(run(creates("next")));
  EXPECT_EQ(snapshots()[1].id, "3");
}

TEST_F(Qcow2Snapshot, WhatCannotBeIsRefusedAndNothingChanges) {
  ASSERT_TRUE(run(creates("s")));
  EXPECT_THAT(refusal(applies("other")), HasSubstr("has no snapshot with the name or ID 'other'"));
  EXPECT_THAT(refusal(deletes("7")), HasSubstr("'7'"));
  EXPECT_THAT(refusal(creates("")), HasSubstr("1 to 255 bytes"));
  EXPECT_THAT(refusal(creates(std::string(256, 'x'))), HasSubstr("not 256"));
}

TEST_F(Qcow2Snapshot, RefcountsThatCannotCountMoreAreRefusedBeforeAnythingChanges) {
  for (const uint32_t order : {0U, 1U}) {
    options_.create.refcount_order = order;
    start();
    write(0, 65536, 1);
    const uint64_t most = max_refcount(order);
    for (uint64_t i = 1; i < most; ++i) {
      ASSERT_TRUE(run(creates("s")));
    }
    EXPECT_THAT(refusal(creates("one too many")),
                HasSubstr(fmt::format("refcounts of {} bits", most == 1 ? 1 : 2)));
    expect_clean();
    if (most > 1) {
      ASSERT_TRUE(run(applies("s"))) << "as many references as before";
      expect_clean();
    }
  }
}

TEST_F(Qcow2Snapshot, AnImageWithErrorsIsRefused) {
  write(0, 65536, 1);
  const uint64_t block = read_table(*disk_, read_header(*disk_)->refcount_table_offset, 8).value()[0];
  ASSERT_TRUE(
      disk_->write(FileOffset(block + 2 * (disk_->content().size() / 4096 - 1)), std::vector<std::byte>(2)));
  EXPECT_THAT(refusal(creates("s")), HasSubstr("repair it first"));
}

TEST_F(Qcow2Snapshot, VmStateAndUnknownExtraDataOfOthersStay) {
  // A snapshot whose L1 table goes on after the disk, with an L2 table and a cluster there.
  write(0, 4096, 1);
  ASSERT_TRUE(run(creates("ours")));
  Header header = read_header(*disk_).value();
  SnapshotTable table = read_snapshot_table(*disk_, header).value();
  Snapshot& theirs = table.snapshots[0];
  theirs.vm_state_bytes = uint64_t{5} << 32U;
  theirs.more_extra.assign(100, std::byte{0x77});
  auto l1 = read_table(*disk_, theirs.l1_offset, uint64_t{theirs.l1_entries} * 8).value();
  const uint64_t end = align_up(disk_->content().size(), 4096);
  l1.push_back(end);
  theirs.l1_entries = static_cast<uint32_t>(l1.size());
  const auto put = [this](uint64_t offset, uint64_t value) {
    std::array<std::byte, 8> bytes{};
    store_be<uint64_t>(bytes.data(), value);
    ASSERT_TRUE(disk_->write(FileOffset(offset), bytes));
  };
  put(theirs.l1_offset + (l1.size() - 1) * 8, end);
  put(end, end + 4096);
  ASSERT_TRUE(disk_->write(FileOffset(end + 4096), std::vector<std::byte>(4096, std::byte{0x99})));
  ASSERT_TRUE(disk_->write(FileOffset(header.snapshots_offset), serialise_snapshot_table(table.snapshots)));
  ASSERT_TRUE(repair(*disk_, header, Repair::kAll)->is_clean());

  ASSERT_TRUE(run(creates("another")));
  ASSERT_TRUE(run(applies("ours")));
  ASSERT_TRUE(run(deletes("another")));
  expect_clean();
  ASSERT_EQ(snapshots().size(), 1U);
  const Snapshot kept = snapshots()[0];
  EXPECT_EQ(kept.vm_state_bytes, uint64_t{5} << 32U);
  EXPECT_EQ(kept.more_extra, std::vector<std::byte>(100, std::byte{0x77}));
  const auto kept_l1 = read_table(*disk_, kept.l1_offset, uint64_t{kept.l1_entries} * 8).value();
  ASSERT_EQ(kept_l1.size(), l1.size());
  const uint64_t cluster =
      read_table(*disk_, kept_l1.back() & kEntryOffsetMask, 8).value()[0] & kEntryOffsetMask;
  std::vector<std::byte> state(4096);
  ASSERT_TRUE(disk_->read(FileOffset(cluster), state));
  EXPECT_EQ(state, std::vector<std::byte>(4096, std::byte{0x99}));
  ASSERT_TRUE(run(deletes("ours")));
  expect_clean();
}

TEST_F(Qcow2Snapshot, CompressedClustersAreCountedInEachHostClusterTheyTouch) {
  Crafter crafter(*disk_);
  for (uint64_t i = 0; i < 20; ++i) {
    crafter.add_compressed(i * 3, 0xc0'0000 + i);
  }
  crafter.finish();
  ASSERT_TRUE(run(creates("s")));
  expect_clean();
  write(0, 65536, 1);
  expect_clean();
  ASSERT_TRUE(run(applies("s")));
  expect_clean();
  expect_value(0, 4096, 0xc0'0000);
  write(0, 65536, 1);
  ASSERT_TRUE(run(deletes("s")));
  expect_clean();
  expect_value(0, 65536, 1);
}

TEST_F(Qcow2Snapshot, ManySnapshotsShareAndPart) {
  for (uint64_t i = 1; i <= 40; ++i) {
    write((i * 7 % 100) * 8192, 12288, i);
    ASSERT_TRUE(run(creates(fmt::format("s{}", i))));
  }
  expect_clean();
  for (uint64_t i = 1; i <= 40; i += 2) {
    ASSERT_TRUE(run(deletes(fmt::format("s{}", i))));
  }
  expect_clean();
  ASSERT_TRUE(run(applies("s20")));
  expect_value((20 * 7 % 100) * 8192, 12288, 20);
  expect_clean();
}

// --- Crashes and faults ---

class Qcow2SnapshotCrash : public Qcow2Snapshot, public testing::WithParamInterface<uint32_t> {
 protected:
  Qcow2SnapshotCrash() : Qcow2Snapshot(GetParam()) {
    options_.create.cluster_bits = 9;
    start();
    write(0, 65536, 1);
    write(200'704, 4096, 2);
    EXPECT_TRUE(run(creates("a")));
    write(1024, 2048, 3);
    EXPECT_TRUE(disk_->sync());
  }
};

TEST_P(Qcow2SnapshotCrash, LeavesTheOldImageOrTheNewOne) {
  for (const uint64_t seed : {1U, 2U, 3U, 4U}) {
    std::mt19937_64 random(seed);
    for (const Change& change :
         {creates("b"), applies("a"), deletes("b"), applies("a"), deletes("a"), creates("a")}) {
      ASSERT_TRUE(change_and_crash(disk_, options_, change, random));
      ASSERT_FALSE(HasFailure());
      expect_clean();
    }
  }
}

TEST_P(Qcow2SnapshotCrash, AFailureAtAnyStepLeavesTheOldImageOrTheNewOneAndTheNextTryWorks) {
  for (const Change& change : {creates("b"), applies("a"), deletes("a")}) {
    fail_at_each_step(*disk_, options_, change);
  }
}

INSTANTIATE_TEST_SUITE_P(Versions, Qcow2SnapshotCrash, testing::Values(2, 3));

}  // namespace
}  // namespace vmm::block::qcow2
