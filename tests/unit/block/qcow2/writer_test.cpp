// What a write does to an image, and what it must never do.
#include "block/qcow2/writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "tests/unit/block/qcow2/crafted.h"
#include "tests/unit/block/qcow2/qcow2_world.h"

namespace vmm::block::qcow2 {
namespace {

constexpr uint64_t kClusterBytes = 4096;

class Qcow2Writer : public testing::Test {
 protected:
  Qcow2Writer() {
    options_.create.cluster_bits = 12;
    options_.create.size_bytes = 256 * kClusterBytes;
  }

  void make() { disk_ = make_disk(options_); }
  void make_overlay() {
    options_.base_sectors = options_.create.size_bytes / kSectorBytes;
    make();
  }
  std::unique_ptr<OpenImage> open() { return std::make_unique<OpenImage>(disk_, options_, false); }
  uint64_t value_at(uint64_t offset) {
    OpenImage image(disk_, options_, true);
    return load_le<uint64_t>(image.read_all().data() + offset);
  }
  void expect_clean() {
    const CheckResult result = check_of(*disk_);
    EXPECT_TRUE(result.is_clean()) << text_of(result);
  }

  WorldOptions options_;
  std::shared_ptr<CrashDisk> disk_;
};

// The bytes in pieces of `piece` bytes, which lie apart in memory.
class Scattered {
 public:
  Scattered(std::span<const std::byte> bytes, size_t piece) {
    for (size_t at = 0; at < bytes.size(); at += piece) {
      const auto part = bytes.subspan(at, std::min(piece, bytes.size() - at));
      pieces_.emplace_back(part.begin(), part.end());
    }
    for (auto& part : pieces_) {
      buffers_.push_back({.iov_base = part.data(), .iov_len = part.size()});
    }
  }

  IoStatus write(OpenImage& image, uint64_t offset) const {
    BlockRequest request;
    request.op = BlockOp::kWrite;
    request.buffers = buffers_;
    uint64_t length = 0;
    for (const iovec& buffer : buffers_) {
      length += buffer.iov_len;
    }
    return image.run(std::move(request), offset, length);
  }

 private:
  std::vector<std::vector<std::byte>> pieces_;
  std::vector<iovec> buffers_;
};

// A write to the first cluster that the host has not done yet.
struct LateWrite {
  explicit LateWrite(OpenImage& image) {
    BlockRequest request;
    request.op = BlockOp::kWrite;
    request.length_bytes = bytes.size();
    request.buffers = std::span(&buffer, 1);
    request.completion = Completion(
        [](void* context, uint64_t, IoStatus) { *static_cast<bool*>(context) = true; }, &is_done, 0);
    image->submit(std::move(request));
  }

  std::vector<std::byte> bytes = std::vector<std::byte>(kClusterBytes, std::byte{0xee});
  iovec buffer = {.iov_base = bytes.data(), .iov_len = bytes.size()};
  bool is_done = false;
};

TEST_F(Qcow2Writer, ZeroesAndDiscardsNeverShowTheBackingFileAgain) {
  make_overlay();
  {
    auto image = open();
    ASSERT_EQ(image->write_value(0, 8 * kClusterBytes, 1), IoStatus::kOk);
    EXPECT_EQ(image->change(BlockOp::kWriteZeroes, 0, kClusterBytes, true), IoStatus::kOk);
    EXPECT_EQ(image->change(BlockOp::kDiscard, kClusterBytes, kClusterBytes), IoStatus::kOk);
    EXPECT_EQ(image->change(BlockOp::kWriteZeroes, 20 * kClusterBytes, kClusterBytes), IoStatus::kOk);
    EXPECT_EQ(image->change(BlockOp::kWriteZeroes, 30 * kClusterBytes + 512, 512, true), IoStatus::kOk);
  }
  EXPECT_EQ(value_at(0), 0U);
  EXPECT_EQ(value_at(kClusterBytes), 0U);
  EXPECT_EQ(value_at(20 * kClusterBytes), 0U);
  EXPECT_EQ(value_at(30 * kClusterBytes + 512), 0U);
  EXPECT_EQ(value_at(30 * kClusterBytes), base_value(30 * kClusterBytes / kSectorBytes));
  expect_clean();
}

TEST_F(Qcow2Writer, AWriteCopiesTheRestOfTheClusterFromBelow) {
  make_overlay();
  {
    auto image = open();
    ASSERT_EQ(image->write_value(kClusterBytes + 1024, 512, 9), IoStatus::kOk);
  }
  const uint64_t first = kClusterBytes / kSectorBytes;
  EXPECT_EQ(value_at(kClusterBytes + 512), base_value(first + 1));
  EXPECT_EQ(value_at(kClusterBytes + 1024), 9U);
  EXPECT_EQ(value_at(kClusterBytes + 1536), base_value(first + 3));
}

// More pieces than a change has vectors, and a cluster in their middle that has its place already: the
// clusters before it are written in one go, out of the caller's memory.
TEST_F(Qcow2Writer, ManyPiecesAreWrittenAsFarAsClustersAreFoundForThem) {
  make_overlay();
  auto image = open();
  ASSERT_EQ(image->write_value(10 * kClusterBytes, kClusterBytes, 3), IoStatus::kOk);
  std::vector<std::byte> bytes(16 * kClusterBytes);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(i / 512 + i);
  }
  ASSERT_EQ(Scattered(bytes, 512).write(*image, 2 * kClusterBytes), IoStatus::kOk);
  const auto disk = image->read_all();
  EXPECT_TRUE(std::ranges::equal(bytes, std::span(disk).subspan(2 * kClusterBytes, bytes.size())));
  image.reset();
  expect_clean();
}

TEST_F(Qcow2Writer, ScatteredWritesAgreeWithAnArray) {
  make_overlay();
  auto image = open();
  std::vector<std::byte> expected = image->read_all();
  std::minstd_rand random(7);
  for (int round = 0; round < 300; ++round) {
    const size_t sectors = expected.size() / kSectorBytes;
    const size_t first = random() % sectors;
    const size_t count = 1 + random() % std::min<size_t>(sectors - first, 40 * kClusterBytes / kSectorBytes);
    std::vector<std::byte> bytes(count * kSectorBytes);
    std::ranges::generate(bytes, [&random] { return static_cast<std::byte>(random() >> 8U); });
    ASSERT_EQ(Scattered(bytes, kSectorBytes << (random() % 5U)).write(*image, first * kSectorBytes),
              IoStatus::kOk);
    std::ranges::copy(bytes, expected.begin() + static_cast<ptrdiff_t>(first * kSectorBytes));
    if (random() % 4 == 0) {
      const size_t at = random() % sectors;
      ASSERT_EQ(image->change(BlockOp::kDiscard, at * kSectorBytes, kSectorBytes), IoStatus::kOk);
      expected = image->read_all();
    }
  }
  EXPECT_TRUE(image->read_all() == expected);
  image.reset();
  expect_clean();
}

TEST_F(Qcow2Writer, FreedClustersAreUsedAgain) {
  make();
  auto image = open();
  size_t size = 0;
  for (int round = 0; round < 20; ++round) {
    ASSERT_EQ(image->write_value(0, 64 * kClusterBytes, 5), IoStatus::kOk);
    ASSERT_EQ(image->change(BlockOp::kDiscard, 0, 64 * kClusterBytes), IoStatus::kOk);
    ASSERT_EQ(image->change(BlockOp::kFlush, 0, 0), IoStatus::kOk);
    if (round == 2) {
      size = disk_->content().size();
    }
  }
  EXPECT_EQ(disk_->content().size(), size);
  image.reset();
  expect_clean();
}

TEST_F(Qcow2Writer, AFreedClusterIsNotUsedAgainWhileAWriteToItIsUnderWay) {
  make();
  {
    auto image = open();
    ASSERT_EQ(image->write_value(0, kClusterBytes, 5), IoStatus::kOk);
    ASSERT_EQ(image->change(BlockOp::kFlush, 0, 0), IoStatus::kOk);
    // The late one stays with the host, while its cluster is discarded and others are written.
    LateWrite late(*image);
    ASSERT_EQ(disk_->waiting(), 1U);
    image->hold_first(true);
    ASSERT_EQ(image->change(BlockOp::kDiscard, 0, kClusterBytes), IoStatus::kOk);
    for (uint64_t i = 1; i < 20; ++i) {
      ASSERT_EQ(image->change(BlockOp::kFlush, 0, 0), IoStatus::kOk);
      ASSERT_EQ(image->write_value(i * kClusterBytes, kClusterBytes, 6), IoStatus::kOk);
    }
    image->hold_first(false);
    image->settle();
    EXPECT_TRUE(late.is_done);
  }
  for (uint64_t i = 1; i < 20; ++i) {
    EXPECT_EQ(value_at(i * kClusterBytes), 6U) << i;
  }
  expect_clean();
}

TEST_F(Qcow2Writer, AFileMadeLongerAheadOfWritesSideBySideEndsWithItsLastCluster) {
  options_.may_extend_ahead = true;
  make();
  const uint64_t before = disk_->size().value();
  {
    auto image = open();
    ASSERT_EQ(image->write_value(0, 8 * kClusterBytes, 5), IoStatus::kOk);
    EXPECT_EQ(disk_->size().value(), before + 9 * kClusterBytes);
    const LateWrite late(*image);
    image->hold_first(true);
    ASSERT_EQ(image->write_value(8 * kClusterBytes, kClusterBytes, 6), IoStatus::kOk);
    EXPECT_GT(disk_->size().value(), before + (size_t{32} << 20U));
    image->hold_first(false);
    image->settle();
  }
  // An L2 table, and the data.
  EXPECT_EQ(disk_->size().value(), before + 10 * kClusterBytes);
  EXPECT_EQ(value_at(8 * kClusterBytes), 6U);
  expect_clean();
}

TEST_F(Qcow2Writer, ARewriteTouchesNoTable) {
  make();
  auto image = open();
  ASSERT_EQ(image->write_value(0, kClusterBytes, 5), IoStatus::kOk);
  ASSERT_EQ(image->change(BlockOp::kFlush, 0, 0), IoStatus::kOk);
  const uint64_t before = disk_->calls();
  ASSERT_EQ(image->write_value(512, 1024, 6), IoStatus::kOk);
  EXPECT_EQ(disk_->calls() - before, 1U);
  ASSERT_EQ(image->change(BlockOp::kFlush, 0, 0), IoStatus::kOk);
  EXPECT_EQ(disk_->calls() - before, 2U);
}

TEST_F(Qcow2Writer, ASnapshotKeepsWhatTheDiskHeld) {
  make();
  {
    auto image = open();
    ASSERT_EQ(image->write_value(0, 16 * kClusterBytes, 5), IoStatus::kOk);
  }
  Crafter crafter(*disk_);
  crafter.add_snapshot();
  crafter.finish();
  const auto before = disk_->content();
  {
    auto image = open();
    ASSERT_EQ(image->write_value(0, 16 * kClusterBytes, 6), IoStatus::kOk);
    ASSERT_EQ(image->change(BlockOp::kDiscard, 4 * kClusterBytes, kClusterBytes), IoStatus::kOk);
  }
  expect_clean();
  // Every cluster of data that the snapshot refers to is as it was.
  const auto header = read_header(*disk_).value();
  const auto snapshots = read_snapshot_table(*disk_, header).value().snapshots;
  ASSERT_EQ(snapshots.size(), 1U);
  const uint64_t table = read_table(*disk_, snapshots[0].l1_offset, 8).value()[0] & kEntryOffsetMask;
  const auto entries = read_table(*disk_, table, uint64_t{16} * 8).value();
  for (const uint64_t entry : entries) {
    const uint64_t host = entry & kEntryOffsetMask;
    ASSERT_NE(host, 0U);
    EXPECT_EQ(load_le<uint64_t>(disk_->content().data() + host), 5U);
  }
}

TEST_F(Qcow2Writer, ACompressedClusterIsReadAndOverwritten) {
  make();
  Crafter crafter(*disk_);
  crafter.add_compressed(3, 77);
  crafter.add_compressed(4, 78);
  crafter.finish();
  EXPECT_EQ(value_at(3 * kClusterBytes + 2048), 77U);
  {
    auto image = open();
    ASSERT_EQ(image->write_value(3 * kClusterBytes + 512, 512, 1), IoStatus::kOk);
  }
  EXPECT_EQ(value_at(3 * kClusterBytes), 77U);
  EXPECT_EQ(value_at(3 * kClusterBytes + 512), 1U);
  EXPECT_EQ(value_at(4 * kClusterBytes), 78U);
  expect_clean();
}

TEST_F(Qcow2Writer, TheRefcountTableGrowsWithTheImage) {
  options_.create.cluster_bits = 9;
  options_.create.refcount_order =
      6;  // 64 clusters of 512 bytes a block: the table of 64 blocks is full at 2 MiB
  options_.create.size_bytes = uint64_t{6} << 20U;
  make();
  {
    auto image = open();
    for (uint64_t offset = 0; offset < options_.create.size_bytes; offset += 64 << 10) {
      ASSERT_EQ(image->write_value(offset, 64 << 10, offset + 1), IoStatus::kOk);
    }
  }
  expect_clean();
  EXPECT_GT(read_header(*disk_).value().refcount_table_clusters, 1U);
  EXPECT_EQ(value_at(5 << 20), (5U << 20) + 1);
}

TEST_F(Qcow2Writer, AnEntryThatPointsAtMetadataIsNotWrittenThrough) {
  make();
  {
    auto image = open();
    ASSERT_EQ(image->write_value(0, kClusterBytes, 5), IoStatus::kOk);
  }
  const auto header = read_header(*disk_).value();
  const uint64_t l2 = read_table(*disk_, header.l1_offset, 8).value()[0] & kEntryOffsetMask;
  for (const uint64_t target : {header.l1_offset, header.refcount_table_offset, l2}) {
    SCOPED_TRACE(target);
    auto copy = std::make_shared<CrashDisk>(disk_->content());
    std::array<std::byte, 8> entry{};
    store_be<uint64_t>(entry.data(), target | kEntryCopied);
    ASSERT_TRUE(copy->write(FileOffset(l2), entry));
    const auto before = copy->content();
    {
      OpenImage image(copy, options_, false);
      EXPECT_EQ(image.write_value(0, 512, 0xdead), IoStatus::kIoError);
      EXPECT_EQ(image.write_value(8 * kClusterBytes, 512, 0xdead), IoStatus::kIoError);
    }
    auto after = copy->content();
    EXPECT_NE(after[kIncompatibleFieldOffset + 7] & std::byte{2}, std::byte{0})
        << "the corrupt bit is not set";
    after[kIncompatibleFieldOffset + 7] = before[kIncompatibleFieldOffset + 7];
    EXPECT_EQ(after, before);
  }
}

TEST_F(Qcow2Writer, AMetadataClusterWithoutARefcountIsNotHandedOut) {
  make();
  const auto header = read_header(*disk_).value();
  const uint64_t block = read_table(*disk_, header.refcount_table_offset, 8).value()[0];
  std::array<std::byte, 2> zero{};
  ASSERT_TRUE(disk_->write(FileOffset(block + header.l1_offset / kClusterBytes * 2), zero));
  const auto before = disk_->content();
  {
    auto image = open();
    EXPECT_EQ(image->write_value(0, kClusterBytes, 5), IoStatus::kIoError);
  }
  EXPECT_TRUE(std::equal(before.begin() + 4096, before.end(), disk_->content().begin() + 4096));
}

TEST_F(Qcow2Writer, ASmallTableCacheServesALargeDisk) {
  options_.create.cluster_bits = 9;
  options_.create.size_bytes = uint64_t{4} << 20U;
  options_.cache_bytes = 1;  // the least there is
  make();
  {
    auto image = open();
    for (uint64_t offset = 0; offset < options_.create.size_bytes; offset += 32 << 10) {
      ASSERT_EQ(image->write_value(offset + 512, 512, offset + 1), IoStatus::kOk);
    }
  }
  expect_clean();
  EXPECT_EQ(value_at((3 << 20) + 512), (3U << 20) + 1);
}

}  // namespace
}  // namespace vmm::block::qcow2
