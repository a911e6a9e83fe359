// What table entries say, by the specification's bit positions.
#include "block/qcow2/entries.h"

#include <gtest/gtest.h>

#include <array>

namespace vmm::block::qcow2 {
namespace {

constexpr EntryFormat kVersion3{.cluster_bits = 16};
constexpr EntryFormat kVersion2{.cluster_bits = 16, .has_zero_flag = false};
constexpr EntryFormat kExtended{.cluster_bits = 16, .has_subclusters = true};

TEST(Qcow2Entry, AllZeroIsUnallocated) {
  EXPECT_EQ(kind_of(kVersion3, {}), ClusterKind::kUnallocated);
  EXPECT_EQ(kind_of(kExtended, {}), ClusterKind::kUnallocated);
}

TEST(Qcow2Entry, BitZeroMeansZeroesInVersion3Only) {
  EXPECT_EQ(kind_of(kVersion3, {.descriptor = 1}), ClusterKind::kZeroes);
  EXPECT_EQ(kind_of(kVersion3, {.descriptor = 0x50001}), ClusterKind::kZeroesAllocated);
  EXPECT_EQ(kind_of(kVersion2, {.descriptor = 1}), ClusterKind::kInvalid);
  EXPECT_EQ(kind_of(kExtended, {.descriptor = 1}), ClusterKind::kInvalid);
}

TEST(Qcow2Entry, AnOffsetInsideAClusterIsInvalid) {
  EXPECT_EQ(kind_of(kVersion3, {.descriptor = 0x50000 | kEntryCopied}), ClusterKind::kData);
  EXPECT_EQ(kind_of(kVersion3, {.descriptor = 0x50200 | kEntryCopied}), ClusterKind::kInvalid);
}

TEST(Qcow2Entry, ReservedBitsAreInvalid) {
  for (const uint32_t bit : {1U, 8U, 56U, 61U}) {
    EXPECT_EQ(kind_of(kVersion3, {.descriptor = 0x50000 | (uint64_t{1} << bit)}), ClusterKind::kInvalid)
        << bit;
  }
}

TEST(Qcow2Entry, OffsetZeroIsAPlaceInADataFileOnly) {
  EXPECT_EQ(kind_of({.cluster_bits = 16, .has_data_file = true}, {.descriptor = kEntryCopied}),
            ClusterKind::kData);
  EXPECT_EQ(kind_of(kVersion3, {.descriptor = kEntryCopied}), ClusterKind::kUnallocated);
}

// "x = 62 - (cluster_bits - 8)": 54 for clusters of 64 KiB.
TEST(Qcow2Entry, CompressedDescriptorHoldsOffsetAndFurtherSectors) {
  const uint64_t descriptor = kEntryCompressed | (uint64_t{3} << 54U) | 0x12345;
  EXPECT_EQ(kind_of(kVersion3, {.descriptor = descriptor}), ClusterKind::kCompressed);
  const CompressedRange range = compressed_range(kVersion3, descriptor);
  EXPECT_EQ(range.offset, 0x12345U);
  EXPECT_EQ(range.bytes, 4 * 512U - 0x145);
  EXPECT_EQ(compressed_descriptor(kVersion3, range), descriptor);
}

TEST(Qcow2Entry, ASubclusterIsNotBothAllocatedAndZero) {
  EXPECT_EQ(kind_of(kExtended, {.descriptor = 0x50000, .bitmap = subcluster_bitmap(1, 1)}),
            ClusterKind::kInvalid);
  EXPECT_EQ(kind_of(kExtended, {.descriptor = 0x50000, .bitmap = subcluster_bitmap(1, 2)}),
            ClusterKind::kData);
  EXPECT_EQ(kind_of(kExtended, {.descriptor = 0, .bitmap = subcluster_bitmap(1, 0)}), ClusterKind::kInvalid);
  EXPECT_EQ(kind_of(kExtended, {.descriptor = 0, .bitmap = subcluster_bitmap(0, UINT32_MAX)}),
            ClusterKind::kZeroes);
}

TEST(Qcow2Refcount, EveryWidthKeepsItsNeighbours) {
  for (uint32_t order = 0; order <= 6; ++order) {
    std::array<std::byte, 64> block{};
    const uint64_t entries = (block.size() * 8) >> order;
    for (uint64_t i = 0; i < entries; ++i) {
      store_refcount(block.data(), i, order, max_refcount(order));
    }
    store_refcount(block.data(), 3, order, 0);
    for (uint64_t i = 0; i < entries; ++i) {
      EXPECT_EQ(load_refcount(block.data(), i, order), i == 3 ? 0 : max_refcount(order)) << order << " " << i;
    }
  }
}

// "bit 0 means the least significant bit in this context"
TEST(Qcow2Refcount, NarrowEntriesStartAtTheLeastSignificantBit) {
  std::array<std::byte, 1> block{};
  store_refcount(block.data(), 1, 0, 1);
  EXPECT_EQ(block[0], std::byte{0x02});
  store_refcount(block.data(), 1, 2, 0xa);
  EXPECT_EQ(block[0], std::byte{0xa2});
}

TEST(Qcow2Refcount, WideEntriesAreBigEndian) {
  std::array<std::byte, 4> block{};
  store_refcount(block.data(), 1, 4, 0x1234);
  EXPECT_EQ(block[2], std::byte{0x12});
  EXPECT_EQ(block[3], std::byte{0x34});
}

}  // namespace
}  // namespace vmm::block::qcow2
