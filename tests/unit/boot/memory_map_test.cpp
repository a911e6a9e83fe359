#include "boot/memory_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

#include "vmm/base/bytes.h"

namespace vmm::boot {
namespace {

using testing::HasSubstr;

using Row = std::tuple<uint64_t, uint64_t, MemoryType>;

std::vector<Row> rows(const MemoryMap& map) {
  std::vector<Row> result;
  for (const MemoryMapEntry& entry : map) {
    result.emplace_back(entry.range.start.value(), entry.range.start.value() + entry.range.length_bytes,
                        entry.type);
  }
  return result;
}

TEST(RamLayout, UpToThreeGiBIsOneRange) {
  for (const uint64_t size : {2 * kMiB, 16 * kMiB, 32 * kMiB, 3 * kGiB}) {
    const auto ranges = ram_layout(size);
    ASSERT_TRUE(ranges) << size;
    ASSERT_EQ(ranges->size(), 1U);
    EXPECT_EQ(ranges->front().start, GuestAddress(0));
    EXPECT_EQ(ranges->front().length_bytes, size);
  }
}

TEST(RamLayout, WhatDoesNotFitBelowTheHoleGoesAbove4GiB) {
  const auto ranges = ram_layout(3 * kGiB + 4096);
  ASSERT_TRUE(ranges);
  ASSERT_EQ(ranges->size(), 2U);
  EXPECT_EQ((*ranges)[0].length_bytes, 3 * kGiB);
  EXPECT_EQ((*ranges)[1].start, GuestAddress(4 * kGiB));
  EXPECT_EQ((*ranges)[1].length_bytes, 4096U);
}

TEST(RamLayout, ImpossibleSizesAreFaultsOfTheDomainFile) {
  for (const uint64_t size : {uint64_t{0}, uint64_t{4096}, kMiB, 2 * kMiB - 4096, 2 * kMiB + 1,
                              uint64_t{1} << 46, ~uint64_t{0xfff}}) {
    const auto ranges = ram_layout(size);
    ASSERT_FALSE(ranges) << size;
    EXPECT_EQ(ranges.error().kind(), ErrorKind::kConfiguration);
    EXPECT_THAT(ranges.error().message(), HasSubstr("<memory>"));
    EXPECT_FALSE(make_memory_map(size));
  }
}

TEST(MemoryMap, SmallGuest) {
  const auto map = make_memory_map(32 * kMiB);
  ASSERT_TRUE(map);
  EXPECT_THAT(rows(*map), testing::ElementsAre(Row{0, 0x9fc00, MemoryType::kUsable},
                                               Row{0x9fc00, 0xa0000, MemoryType::kReserved},
                                               Row{0xe0000, 0x100000, MemoryType::kReserved},
                                               Row{0x100000, 32 * kMiB, MemoryType::kUsable},
                                               Row{0xfec00000, 0xfec01000, MemoryType::kReserved},
                                               Row{0xfee00000, 0xfee01000, MemoryType::kReserved},
                                               Row{0xfeffc000, 0xff000000, MemoryType::kReserved}));
}

TEST(MemoryMap, BigGuestHasTheRestAbove4GiB) {
  const auto map = make_memory_map(8 * kGiB);
  ASSERT_TRUE(map);
  EXPECT_THAT(rows(*map), testing::Contains(Row{0x100000, 3 * kGiB, MemoryType::kUsable}));
  EXPECT_EQ(rows(*map).back(), (Row{4 * kGiB, 9 * kGiB, MemoryType::kUsable}));
}

TEST(MemoryMap, IsSortedWithoutOverlaps) {
  for (const uint64_t size : {2 * kMiB, 3 * kGiB, 5 * kGiB}) {
    const auto map = make_memory_map(size);
    ASSERT_TRUE(map);
    uint64_t end = 0;
    for (const auto& [start, next_end, type] : rows(*map)) {
      EXPECT_GE(start, end);
      EXPECT_GT(next_end, start);
      end = next_end;
    }
  }
}

}  // namespace
}  // namespace vmm::boot
