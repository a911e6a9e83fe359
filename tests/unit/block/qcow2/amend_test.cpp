// Another version, refcounts of another width: at any crash an image without errors that holds the same.
#include "block/qcow2/amend.h"

#include <gmock/gmock.h>

#include <set>

#include "tests/unit/block/qcow2/offline.h"

namespace vmm::block::qcow2 {
namespace {

using testing::HasSubstr;

constexpr uint64_t kDiskBytes = uint64_t{1} << 20U;

WorldOptions world(uint32_t version, uint32_t cluster_bits, uint64_t base_sectors = 0) {
  WorldOptions options;
  options.create.version = version;
  options.create.cluster_bits = cluster_bits;
  options.create.size_bytes = kDiskBytes;
  options.base_sectors = base_sectors;
  return options;
}

// Data, zeroes over data and zeroes over nothing.
std::shared_ptr<CrashDisk> filled_image(const WorldOptions& options) {
  auto disk = make_disk(options);
  OpenImage image(disk, options, false);
  const uint64_t cluster = uint64_t{1} << options.create.cluster_bits;
  EXPECT_EQ(image.write_value(cluster, 2 * cluster, 7), IoStatus::kOk);
  EXPECT_EQ(image.write_value(8 * cluster, cluster, 8), IoStatus::kOk);
  EXPECT_EQ(image.change(BlockOp::kWriteZeroes, cluster, cluster), IoStatus::kOk);
  EXPECT_EQ(image.change(BlockOp::kWriteZeroes, 4 * cluster, 3 * cluster), IoStatus::kOk);
  EXPECT_EQ(image.change(BlockOp::kWriteZeroes, 8 * cluster, cluster, true), IoStatus::kOk);
  EXPECT_EQ(image.change(BlockOp::kFlush, 0, 0), IoStatus::kOk);
  return disk;
}

Change amends(const AmendOptions& options) {
  return [options](SyncFile& file, Header& header) { return amend(file, header, options); };
}

using Look = std::pair<uint32_t, uint32_t>;  // version, refcount order
Look look_of(CrashDisk& disk) {
  const Header header = read_header(disk).value();
  return {header.version, header.refcount_order};
}

// Makes the change, and at each call judges what a crash leaves. What the image looked like at some moment.
std::set<Look> amend_and_crash(const std::shared_ptr<CrashDisk>& disk, const WorldOptions& options,
                               const AmendOptions& wanted, std::mt19937_64& random) {
  const WholeState state = state_of(disk->content(), options);
  std::set<Look> looks;
  WatchedFile file(disk);
  file.after_call = [&] {
    for (int i = 0; i < 3 && !testing::Test::HasFailure(); ++i) {
      const auto left = disk->crash(random);
      CrashDisk crashed(left);
      const CheckResult result = check_of(crashed);
      ASSERT_EQ(result.corruptions, 0U) << "at call " << file.calls << ": " << text_of(result);
      ASSERT_EQ(result.leaks, 0U) << "at call " << file.calls << ": " << text_of(result);
      looks.insert(look_of(crashed));
      ASSERT_EQ(state_of(left, options), state) << "at call " << file.calls;
    }
  };
  const Status done = change_image(file, amends(wanted));
  EXPECT_TRUE(done) << done.error().message();
  const CheckResult result = check_of(*disk);
  EXPECT_TRUE(result.is_clean()) << text_of(result);
  EXPECT_EQ(state_of(disk->content(), options), state);
  return looks;
}

TEST(Qcow2Amend, ToVersion2AndBackAtAnyCrashTheImageHoldsTheSame) {
  std::mt19937_64 random(1);
  for (const uint32_t cluster_bits : {9U, 12U, 16U}) {
    for (const uint64_t base_sectors : {uint64_t{0}, uint64_t{300}, uint64_t{4000}}) {
      SCOPED_TRACE(fmt::format("clusters of 2^{} bytes, {} sectors below", cluster_bits, base_sectors));
      const WorldOptions options = world(3, cluster_bits, base_sectors);
      const auto disk = filled_image(options);
      EXPECT_EQ(amend_and_crash(disk, options, {.version = 2}, random), (std::set<Look>{{3, 4}, {2, 4}}));
      EXPECT_EQ(amend_and_crash(disk, options, {.version = 3, .lazy_refcounts = true}, random),
                (std::set<Look>{{2, 4}, {3, 4}}));
      EXPECT_EQ(read_header(*disk)->compatible, kCompatibleLazyRefcounts);
      ASSERT_FALSE(testing::Test::HasFailure());
    }
  }
}

TEST(Qcow2Amend, RefcountsOfEachWidthAtAnyCrash) {
  std::mt19937_64 random(2);
  for (const uint32_t cluster_bits : {9U, 12U, 16U}) {
    const WorldOptions options = world(3, cluster_bits, 300);
    const auto disk = filled_image(options);
    uint32_t before = 4;
    for (const uint32_t order : {0U, 6U, 3U, 1U, 5U, 2U, 4U}) {
      SCOPED_TRACE(fmt::format("clusters of 2^{} bytes, width {}", cluster_bits, order));
      EXPECT_EQ(amend_and_crash(disk, options, {.refcount_order = order}, random),
                (std::set<Look>{{3, before}, {3, order}}));
      before = order;
      ASSERT_FALSE(testing::Test::HasFailure());
    }
  }
}

TEST(Qcow2Amend, BothAtOnceAreTwoSteps) {
  std::mt19937_64 random(3);
  const WorldOptions options = world(2, 9, 300);
  const auto disk = filled_image(options);
  EXPECT_EQ(amend_and_crash(disk, options, {.version = 3, .refcount_order = 6}, random),
            (std::set<Look>{{2, 4}, {3, 6}}));
  EXPECT_EQ(amend_and_crash(disk, options, {.version = 2, .refcount_order = 4}, random),
            (std::set<Look>{{3, 6}, {3, 4}, {2, 4}}));
}

TEST(Qcow2Amend, SnapshotsStayAndMayBeMoreThanARefcountCanTell) {
  std::mt19937_64 random(4);
  const WorldOptions options = world(3, 9);
  auto disk = make_disk(options);
  {
    OpenImage image(disk, options, false);
    ASSERT_EQ(image.write_value(0, 65536, 7), IoStatus::kOk);
  }
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_TRUE(change_image(*disk, creates(name)));
  }
  const auto before = disk->content();
  const Status refused = change_image(*disk, amends({.refcount_order = 1}));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("used 4 times, more than refcounts of 2 bits"));
  EXPECT_EQ(state_of(disk->content(), options), state_of(before, options));
  EXPECT_TRUE(check_of(*disk).is_clean());
  amend_and_crash(disk, options, {.refcount_order = 2}, random);
  amend_and_crash(disk, options, {.version = 2, .refcount_order = 4}, random);
  EXPECT_EQ(look_of(*disk), Look(2, 4));
}

TEST(Qcow2Amend, WhatFailsLeavesTheOldOneOrTheNewOne) {
  const WorldOptions options = world(3, 12, 300);
  const auto disk = filled_image(options);
  fail_at_each_step(*disk, options, amends({.version = 2}));
  fail_at_each_step(*disk, options, amends({.refcount_order = 6}));
}

TEST(Qcow2Amend, WhatCannotBeIsRefusedAndNothingChanges) {
  struct Case {
    std::function<void(CreateOptions&)> create;
    AmendOptions wanted;
    const char* message;
  };
  const std::vector<Case> cases = {
      {[](CreateOptions&) {}, {.version = 2, .lazy_refcounts = true}, "lazy_refcounts=on needs version 3"},
      {[](CreateOptions&) {}, {.version = 2, .refcount_order = 5}, "add refcount_bits=16"},
      {[](CreateOptions& create) { create.version = 2; }, {.refcount_order = 5}, "add compat=1.1"},
      {[](CreateOptions& create) { create.refcount_order = 3; }, {.version = 2}, "add refcount_bits=16"},
      {[](CreateOptions& create) { create.extended_l2 = true; }, {.version = 2}, "has extended L2 entries"},
      {[](CreateOptions& create) { create.compression = CompressionType::kZstd; },
       {.version = 2},
       "with zstd"},
      {[](CreateOptions& create) { create.data_file = "d"; }, {.version = 2}, "an external data file"},
      {[](CreateOptions&) {}, {.data_file = "d"}, "has no data file"},
      {[](CreateOptions&) {}, {.data_file_raw = true}, "data_file_raw cannot be switched on"},
      {[](CreateOptions& create) { create.data_file = "d"; },
       {.data_file_raw = true},
       "cannot be switched on"}};
  for (const Case& each : cases) {
    WorldOptions options = world(3, 16);
    each.create(options.create);
    auto disk = make_disk(options);
    const auto before = disk->content();
    const Status done = change_image(*disk, amends(each.wanted));
    ASSERT_FALSE(done);
    EXPECT_THAT(done.error().message(), HasSubstr(each.message));
    EXPECT_EQ(disk->content(), before);
  }
}

TEST(Qcow2Amend, ZeroClustersBelowSnapshotsAreInTheWayOfVersion2) {
  const WorldOptions options = world(3, 12);
  const auto disk = filled_image(options);
  ASSERT_TRUE(change_image(*disk, creates("s")));
  const Status done = change_image(*disk, amends({.version = 2}));
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message(), HasSubstr("delete the snapshots first"));
  ASSERT_TRUE(change_image(*disk, deletes("s")));
  ASSERT_TRUE(change_image(*disk, amends({.version = 2})));
}

TEST(Qcow2Amend, TheNameOfTheDataFileAndWhetherItIsRaw) {
  WorldOptions options = world(3, 16);
  options.create.data_file = "d";
  options.create.data_file_raw = true;
  options.create.preallocation = Preallocation::kMetadata;
  auto disk = make_disk(options);
  ASSERT_TRUE(change_image(*disk, amends({.data_file = "another"})));
  EXPECT_EQ(read_header(*disk)->data_file, "another");
  EXPECT_EQ(read_header(*disk)->autoclear, kAutoclearRawDataFile);
  ASSERT_TRUE(change_image(*disk, amends({.data_file_raw = false})));
  EXPECT_EQ(read_header(*disk)->data_file, "another");
  EXPECT_EQ(read_header(*disk)->autoclear, 0U);
}

}  // namespace
}  // namespace vmm::block::qcow2
