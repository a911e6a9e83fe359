// An emptied image shows what it stands on, keeps what others hold, and takes little space.
#include "block/qcow2/make_empty.h"

#include <gmock/gmock.h>

#include "tests/unit/block/qcow2/crafted.h"
#include "tests/unit/block/qcow2/offline.h"

namespace vmm::block::qcow2 {
namespace {

class Qcow2MakeEmpty : public testing::TestWithParam<uint32_t> {
 protected:
  Qcow2MakeEmpty() {
    options_.create.version = GetParam();
    options_.create.cluster_bits = 9;
    options_.create.size_bytes = 1 << 20U;
    options_.base_sectors = 1500;
  }

  void start() { disk_ = make_disk(options_); }
  void write(uint64_t offset, uint64_t length, uint64_t value) {
    OpenImage image(disk_, options_, false);
    ASSERT_EQ(image.write_value(offset, length, value), IoStatus::kOk);
  }
  Status run(const Change& change) { return change_image(*disk_, change); }
  void expect_clean() {
    const CheckResult result = check_of(*disk_);
    EXPECT_TRUE(result.is_clean()) << text_of(result);
  }
  // What it stands on, with zeroes behind.
  void expect_backing_only() {
    expect_clean();
    auto expected = base_content(options_.base_sectors);
    expected.resize(options_.create.size_bytes);
    EXPECT_EQ(content_of(disk_->content(), options_), expected);
    EXPECT_EQ(check_of(*disk_).allocated_clusters, 0U);
  }

  WorldOptions options_;
  std::shared_ptr<CrashDisk> disk_;
};

TEST_P(Qcow2MakeEmpty, TheDiskIsWhatItStandsOnAndTheFileIsShort) {
  for (const uint32_t cluster_bits : {9U, 12U, 16U}) {
    options_.create.cluster_bits = cluster_bits;
    start();
    const uint64_t bytes_when_new = disk_->content().size();
    write(0, options_.create.size_bytes, 1);  // in clusters of 512 bytes, that takes several refcount blocks
    ASSERT_TRUE(run(empties()));
    expect_backing_only();
    EXPECT_LE(disk_->content().size(), bytes_when_new + (uint64_t{2} << cluster_bits));
    write(4096, 8192, 2);
    expect_clean();
    ASSERT_TRUE(run(empties()));
    ASSERT_TRUE(run(empties()));
    expect_backing_only();
  }
}

TEST_P(Qcow2MakeEmpty, CompressedClustersAreGivenUpToo) {
  start();
  Crafter crafter(*disk_);
  for (uint64_t i = 0; i < 20; ++i) {
    crafter.add_compressed(i * 3, 0xc0'0000 + i);
  }
  crafter.finish();
  ASSERT_TRUE(run(empties()));
  expect_backing_only();
}

TEST_P(Qcow2MakeEmpty, SnapshotsKeepWhatTheyHold) {
  start();
  write(0, 65536, 1);
  const auto before = content_of(disk_->content(), options_);
  ASSERT_TRUE(run(creates("s")));
  write(4096, 299'520, 2);
  ASSERT_TRUE(run(empties()));
  expect_backing_only();
  EXPECT_EQ(state_of(disk_->content(), options_).snapshots.at("1 s"), before);
  ASSERT_TRUE(run(applies("s")));
  expect_clean();
  EXPECT_EQ(content_of(disk_->content(), options_), before);
}

TEST_P(Qcow2MakeEmpty, ACrashLeavesAllOrNothing) {
  for (const bool has_snapshot : {false, true}) {
    start();
    std::mt19937_64 random(GetParam());
    write(0, 65536, 1);
    write(499'712, 4096, 2);
    if (has_snapshot) {
      ASSERT_TRUE(run(creates("s")));
      write(1024, 2048, 3);
    }
    ASSERT_TRUE(disk_->sync());
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(change_and_crash(disk_, options_, empties(), random));
      ASSERT_FALSE(HasFailure());
      write(0, 40'960, 4);
      ASSERT_TRUE(disk_->sync());
    }
  }
}

TEST_P(Qcow2MakeEmpty, AFailureAtAnyStepLeavesAllOrNothingAndTheNextTryWorks) {
  start();
  write(0, 65536, 1);
  fail_at_each_step(*disk_, options_, empties());
}

INSTANTIATE_TEST_SUITE_P(Versions, Qcow2MakeEmpty, testing::Values(2, 3));

}  // namespace
}  // namespace vmm::block::qcow2
