// Compressed clusters written into images: packed as the specification allows, counted, overwritten.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "block/compressed_writes.h"
#include "block/compressor.h"
#include "tests/unit/block/qcow2/qcow2_world.h"

namespace vmm::block::qcow2 {
namespace {

constexpr uint64_t kClusterBytes = 4096;

WorldOptions world(uint32_t refcount_order = 4) {
  WorldOptions options;
  options.create.size_bytes = 64 * kClusterBytes;
  options.create.cluster_bits = 12;
  options.create.refcount_order = refcount_order;
  return options;
}

std::vector<std::byte> cluster_of(uint64_t value) {
  std::vector<std::byte> bytes(kClusterBytes);
  for (size_t at = 0; at < bytes.size(); at += 8) {
    store_le<uint64_t>(bytes.data() + at, value);
  }
  return bytes;
}

// `stored_bytes`: filled up to that.
IoStatus write_compressed(OpenImage& image, uint64_t cluster, uint64_t value, size_t stored_bytes) {
  std::vector<std::byte> stored(kClusterBytes - 1);
  const size_t bytes = make_compressor(Compression::kDeflate)->run(cluster_of(value), stored);
  EXPECT_GT(bytes, 0U);
  EXPECT_LE(bytes, stored_bytes);
  const iovec buffer{.iov_base = stored.data(), .iov_len = stored_bytes};
  std::optional<IoStatus> result;
  BlockRequest request;
  request.op = BlockOp::kWrite;
  request.offset = DiskOffset(cluster * kClusterBytes);
  request.length_bytes = kClusterBytes;
  request.buffers = std::span(&buffer, 1);
  request.completion =
      Completion([](void* context, uint64_t /*cookie*/,
                    IoStatus status) { *static_cast<std::optional<IoStatus>*>(context) = status; },
                 &result, 0);
  image->compressed_writes()->submit_compressed(std::move(request));
  image.settle();
  return result.value_or(IoStatus::kIoError);
}

uint64_t value_at(const std::vector<std::byte>& disk, uint64_t cluster) {
  return load_le<uint64_t>(disk.data() + cluster * kClusterBytes);
}

void expect_clean(CrashDisk& disk) {
  const CheckResult result = check_of(disk);
  EXPECT_TRUE(result.is_clean()) << text_of(result);
}

TEST(Qcow2CompressedWrite, ClustersAreReadBackAndShareHostClusters) {
  const WorldOptions options = world();
  auto disk = make_disk(options);
  {
    OpenImage image(disk, options, false);
    for (uint64_t cluster = 0; cluster < 32; ++cluster) {
      ASSERT_EQ(write_compressed(image, cluster, cluster + 1, 1000), IoStatus::kOk);
    }
    const auto content = image.read_all();
    for (uint64_t cluster = 0; cluster < 32; ++cluster) {
      EXPECT_EQ(value_at(content, cluster), cluster + 1);
    }
    EXPECT_EQ(value_at(content, 32), 0U);
  }
  expect_clean(*disk);
  const CheckResult result = check_of(*disk);
  EXPECT_EQ(result.compressed_clusters, 32U);
  // 32,000 bytes in a row.
  constexpr uint64_t kMetadataClusters = 8;
  EXPECT_LE(result.image_end_offset, (kMetadataClusters + 8) * kClusterBytes);
}

TEST(Qcow2CompressedWrite, WhereCountsAreTooNarrowNothingIsShared) {
  for (const uint32_t order : {0U, 1U}) {
    const WorldOptions options = world(order);
    auto disk = make_disk(options);
    {
      OpenImage image(disk, options, false);
      for (uint64_t cluster = 0; cluster < 16; ++cluster) {
        ASSERT_EQ(write_compressed(image, cluster, cluster + 1, 700), IoStatus::kOk);
      }
      const auto content = image.read_all();
      for (uint64_t cluster = 0; cluster < 16; ++cluster) {
        EXPECT_EQ(value_at(content, cluster), cluster + 1);
      }
    }
    expect_clean(*disk);
    const uint64_t least = order == 0 ? 16 : 6;
    EXPECT_GE(check_of(*disk).image_end_offset, least * kClusterBytes);
  }
}

TEST(Qcow2CompressedWrite, AFreedClusterIsNotPackedFurther) {
  const WorldOptions options = world();
  auto disk = make_disk(options);
  {
    OpenImage image(disk, options, false);
    ASSERT_EQ(write_compressed(image, 0, 1, 1000), IoStatus::kOk);
    // Its only user goes: the cluster is free after the flush, and the next write takes it.
    ASSERT_EQ(image.change(BlockOp::kDiscard, 0, kClusterBytes), IoStatus::kOk);
    ASSERT_EQ(image.change(BlockOp::kFlush, 0, 0), IoStatus::kOk);
    for (uint64_t cluster = 8; cluster < 16; ++cluster) {
      ASSERT_EQ(image.write_value(cluster * kClusterBytes, kClusterBytes, 0x77), IoStatus::kOk);
    }
    ASSERT_EQ(write_compressed(image, 1, 2, 1000), IoStatus::kOk);
    const auto content = image.read_all();
    for (uint64_t cluster = 8; cluster < 16; ++cluster) {
      const auto wanted = cluster_of(0x77);
      EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(),
                             content.begin() + static_cast<ptrdiff_t>(cluster * kClusterBytes)));
    }
    EXPECT_EQ(value_at(content, 1), 2U);
  }
  expect_clean(*disk);
}

TEST(Qcow2CompressedWrite, ReplacesPlainAndCompressedClustersAndIsReplaced) {
  const WorldOptions options = world();
  auto disk = make_disk(options);
  {
    OpenImage image(disk, options, false);
    ASSERT_EQ(image.write_value(0, 4 * kClusterBytes, 1), IoStatus::kOk);
    ASSERT_EQ(write_compressed(image, 1, 2, 500), IoStatus::kOk);
    ASSERT_EQ(write_compressed(image, 1, 3, 500), IoStatus::kOk);
    ASSERT_EQ(write_compressed(image, 2, 4, 500), IoStatus::kOk);
    ASSERT_EQ(image.write_value(2 * kClusterBytes, 512, 5), IoStatus::kOk);
    const auto content = image.read_all();
    EXPECT_EQ(value_at(content, 0), 1U);
    EXPECT_EQ(value_at(content, 1), 3U);
    EXPECT_EQ(value_at(content, 2), 5U);
    EXPECT_EQ(load_le<uint64_t>(content.data() + 2 * kClusterBytes + 512), 4U);
    EXPECT_EQ(value_at(content, 3), 1U);
  }
  expect_clean(*disk);
}

TEST(Qcow2CompressedWrite, WhatIsNoWholeClusterIsRefused) {
  const WorldOptions options = world();
  auto disk = make_disk(options);
  OpenImage image(disk, options, false);
  EXPECT_EQ(write_compressed(image, 64, 1, 500), IoStatus::kUnsupported);
  EXPECT_EQ(write_compressed(image, 0, 1, kClusterBytes), IoStatus::kUnsupported);
}

TEST(Qcow2CompressedWrite, IsNotThereForImagesThatAreReadOnlyOrHaveADataFile) {
  const WorldOptions options = world();
  auto disk = make_disk(options);
  OpenImage image(disk, options, true);
  EXPECT_EQ(image->compressed_writes(), nullptr);
}

}  // namespace
}  // namespace vmm::block::qcow2
