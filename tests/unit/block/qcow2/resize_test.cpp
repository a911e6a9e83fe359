// Another size: what is new reads as zeroes, what is gone is given back, and what others hold stays.
#include "block/qcow2/resize.h"

#include <gmock/gmock.h>

#include "tests/unit/block/qcow2/offline.h"

namespace vmm::block::qcow2 {
namespace {

using testing::HasSubstr;

class Qcow2Resize : public testing::Test {
 protected:
  Qcow2Resize() {
    options_.create.cluster_bits = 12;
    options_.create.size_bytes = 100 * kSectorBytes;  // ends inside a cluster
  }

  void start() { disk_ = make_disk(options_); }
  uint64_t backing_bytes() const { return options_.base_sectors * kSectorBytes; }
  Header header() { return read_header(*disk_).value(); }
  std::vector<std::byte> content() { return content_of(disk_->content(), options_); }
  void expect_clean() {
    const CheckResult result = check_of(*disk_);
    EXPECT_TRUE(result.is_clean()) << text_of(result);
  }
  Status run(const Change& change) { return change_image(*disk_, change); }
  std::string refusal(const Change& change) {
    const Status done = run(change);
    return done ? "done" : done.error().message();
  }

  // All three steps; in the second, a crash after any answer of the disk must leave the old one.
  void grow(uint64_t size_bytes, Preallocation preallocation = Preallocation::kOff) {
    const auto before = content();
    std::optional<DiskRange> zeroes;
    ASSERT_TRUE(run([&](SyncFile& file, Header& header) -> Status {
      VMM_TRY(check_resize(file, header, size_bytes));
      zeroes = zeroes_needed(header, size_bytes, backing_bytes(), preallocation);
      return begin_growing(file, header, size_bytes, preallocation);
    }));
    EXPECT_EQ(content(), before);
    if (zeroes) {
      write_zeroes(size_bytes, *zeroes, before);
    }
    ASSERT_TRUE(
        run([&](SyncFile& file, Header& header) { return finish_growing(file, header, size_bytes); }));
    expect_clean();
    const auto after = content();
    ASSERT_EQ(after.size(), size_bytes);
    EXPECT_TRUE(std::ranges::equal(std::span(after).first(before.size()), before));
    EXPECT_TRUE(std::ranges::all_of(std::span(after).subspan(before.size()),
                                    [](std::byte byte) { return byte == std::byte{0}; }));
  }

  void write_zeroes(uint64_t size_bytes, const DiskRange& range, const std::vector<std::byte>& before) {
    WorldOptions options = options_;
    options.disk_bytes = size_bytes;
    std::mt19937_64 random(1);
    OpenImage image(disk_, options, false);
    std::optional<IoStatus> result;
    for (const BlockOp op : {BlockOp::kWriteZeroes, BlockOp::kFlush}) {
      BlockRequest request;
      request.op = op;
      request.offset = DiskOffset(range.offset);
      request.length_bytes = range.bytes;
      result.reset();
      request.completion =
          Completion([](void* context, uint64_t /*cookie*/,
                        IoStatus status) { *static_cast<std::optional<IoStatus>*>(context) = status; },
                     &result, 0);
      image->submit(std::move(request));
      while (image.waiting() > 0) {
        if (random() % 16 == 0) {
          CrashDisk left(disk_->crash(random));
          ASSERT_EQ(check_of(left).corruptions, 0U);
          ASSERT_EQ(content_of(left.content(), options_), before);
        }
        image.answer(0);
      }
      ASSERT_EQ(result, IoStatus::kOk);
    }
  }

  WorldOptions options_;
  std::shared_ptr<CrashDisk> disk_;
};

TEST_F(Qcow2Resize, WhatIsNewReadsAsZeroesWithoutABackingFile) {
  start();
  {
    OpenImage image(disk_, options_, false);
    ASSERT_EQ(image.write_value(0, options_.create.size_bytes, 5), IoStatus::kOk);
  }
  grow(103 * kSectorBytes);
  grow(uint64_t{40} << 20U);  // more L1 entries
  EXPECT_GT(header().l1_entries, 1U);
  EXPECT_LT(disk_->content().size(), uint64_t{200'000});
}

TEST_F(Qcow2Resize, ALongerBackingFileDoesNotShowInWhatIsNew) {
  options_.base_sectors = 5000;
  for (const uint32_t version : {2U, 3U}) {
    for (const uint64_t sectors : {103U, 200U, 4990U, 6000U}) {
      SCOPED_TRACE(fmt::format("version {}, {} sectors", version, sectors));
      options_.create.version = version;
      start();
      grow(sectors * kSectorBytes);
    }
  }
}

TEST_F(Qcow2Resize, SubclustersAndSmallClustersGrowOverALongerBackingFile) {
  options_.base_sectors = 3000;
  options_.create.cluster_bits = 14;
  options_.create.extended_l2 = true;
  start();
  grow(2000 * kSectorBytes);
  options_.create.extended_l2 = false;
  options_.create.cluster_bits = 9;
  start();
  grow(2000 * kSectorBytes);
}

TEST_F(Qcow2Resize, WhatIsNewCanHaveItsPlaces) {
  for (const bool extended : {false, true}) {
    options_.create.cluster_bits = 14;
    options_.create.extended_l2 = extended;
    options_.base_sectors = 200;
    start();
    {
      OpenImage image(disk_, options_, false);
      ASSERT_EQ(image.write_value(0, 512, 5), IoStatus::kOk);
    }
    for (const Preallocation preallocation :
         {Preallocation::kMetadata, Preallocation::kFalloc, Preallocation::kFull}) {
      const uint64_t old_bytes = header().size_bytes;
      grow(old_bytes + 1500 * kSectorBytes, preallocation);
      const uint64_t bytes = disk_->content().size();
      {
        OpenImage image(disk_, options_, false);
        ASSERT_EQ(image.write_value(old_bytes + 1000 * kSectorBytes, 500 * kSectorBytes, 6), IoStatus::kOk);
      }
      EXPECT_EQ(disk_->content().size(), bytes);
      expect_clean();
    }
  }
}

TEST_F(Qcow2Resize, NothingRemainsOfSpaceThatCouldNotBeSetAside) {
  start();
  const auto before = disk_->content();
  WatchedFile file(disk_);
  file.fail_from = 1;  // after the file was made longer
  file.fail_until = 2;
  EXPECT_FALSE(change_image(file, grows(uint64_t{4} << 20U, 0, Preallocation::kFalloc)));
  EXPECT_EQ(disk_->content(), before);
}

TEST_F(Qcow2Resize, ShrinkingGivesBackWhatLiesBehindTheEnd) {
  options_.create.size_bytes = uint64_t{8} << 20U;
  start();
  {
    OpenImage image(disk_, options_, false);
    ASSERT_EQ(image.write_value(0, options_.create.size_bytes, 5), IoStatus::kOk);
  }
  ASSERT_TRUE(run(shrinks(3 << 20U)));
  expect_clean();
  EXPECT_EQ(check_of(*disk_).allocated_clusters, (3U << 20U) / 4096);
  EXPECT_EQ(header().l1_entries, 2U);
  EXPECT_EQ(content().size(), 3U << 20U);
  grow(uint64_t{8} << 20U);
  ASSERT_TRUE(run(shrinks(0)));
  EXPECT_EQ(check_of(*disk_).allocated_clusters, 0U);
  expect_clean();
}

TEST_F(Qcow2Resize, SnapshotsKeepTheirSizeAndBringItBack) {
  options_.create.size_bytes = 1 << 20U;
  start();
  {
    OpenImage image(disk_, options_, false);
    ASSERT_EQ(image.write_value(0, options_.create.size_bytes, 5), IoStatus::kOk);
  }
  const auto before = content();
  ASSERT_TRUE(run(creates("s")));
  ASSERT_TRUE(run(shrinks(100 * kSectorBytes)));
  expect_clean();
  EXPECT_EQ(state_of(disk_->content(), options_).snapshots.at("1 s"), before);
  grow(uint64_t{4} << 20U);
  ASSERT_TRUE(run(creates("large")));
  ASSERT_TRUE(run(applies("s")));
  expect_clean();
  EXPECT_EQ(content(), before);
  ASSERT_TRUE(run(applies("large")));
  expect_clean();
  EXPECT_EQ(content().size(), uint64_t{4} << 20U);
}

TEST_F(Qcow2Resize, WhatCannotBeIsRefusedByName) {
  start();
  EXPECT_THAT(refusal(shrinks(1000)), HasSubstr("not a multiple of 512"));
  EXPECT_THAT(refusal(grows(uint64_t{1} << 62U, 0, Preallocation::kOff)), HasSubstr("larger clusters"));
  options_.create.version = 2;
  start();
  ASSERT_TRUE(run(creates("s")));
  EXPECT_THAT(refusal(grows(1 << 20U, 0, Preallocation::kOff)), HasSubstr("internal snapshots"));
}

TEST_F(Qcow2Resize, AFailureAtAnyStepLeavesTheOldImageOrTheNewOneAndTheNextTryWorks) {
  options_.create.cluster_bits = 9;
  options_.create.size_bytes = 1 << 20U;
  for (const uint32_t version : {2U, 3U}) {
    options_.create.version = version;
    start();
    {
      OpenImage image(disk_, options_, false);
      ASSERT_EQ(image.write_value(0, 65536, 5), IoStatus::kOk);
      ASSERT_EQ(image.write_value(700 * 1024, 65536, 6), IoStatus::kOk);
    }
    for (const Change& change :
         {grows(8 << 20U, 0, Preallocation::kOff), grows(1'500'160, 0, Preallocation::kMetadata),
          grows(1'500'160, 0, Preallocation::kFalloc), shrinks(710 * 1024), shrinks(4096)}) {
      fail_at_each_step(*disk_, options_, change);
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST_F(Qcow2Resize, ACrashLeavesTheOldSizeOrTheNewOne) {
  options_.create.size_bytes = 2 << 20U;
  for (const uint32_t version : {2U, 3U}) {
    options_.create.version = version;
    start();
    {
      OpenImage image(disk_, options_, false);
      ASSERT_EQ(image.write_value(0, 65536, 5), IoStatus::kOk);
      ASSERT_EQ(image.write_value(1 << 20U, 65536, 6), IoStatus::kOk);
      ASSERT_EQ(image.change(BlockOp::kFlush, 0, 0), IoStatus::kOk);
    }
    std::mt19937_64 random(version);
    for (const Change& change : {grows(8 << 20U, 0, Preallocation::kOff), shrinks(1'100'288), shrinks(4096),
                                 grows(3 << 20U, 0, Preallocation::kMetadata)}) {
      ASSERT_TRUE(change_and_crash(disk_, options_, change, random));
      ASSERT_FALSE(HasFailure());
    }
  }
}

}  // namespace
}  // namespace vmm::block::qcow2
