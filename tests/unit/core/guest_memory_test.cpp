#include "vmm/core/guest_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <utility>

namespace vmm {
namespace {

constexpr uint64_t kLowEnd = 0x4000;
constexpr uint64_t kHighStart = 0x1'0000'0000;

GuestMemory::Region region(uint64_t start, size_t length) {
  return {GuestAddress(start),
          Mapping::map("a test", length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).value()};
}

// [0, 16 KiB) and 8 KiB at 4 GiB, as a guest with a hole has it.
GuestMemory memory_with_hole() {
  std::vector<GuestMemory::Region> regions;
  regions.push_back(region(0, kLowEnd));
  regions.push_back(region(kHighStart, 0x2000));
  return GuestMemory(std::move(regions));
}

TEST(GuestMemory, WhatIsWrittenIsRead) {
  const GuestMemory memory = memory_with_hole();
  EXPECT_EQ(memory.size_bytes(), 0x6000U);
  ASSERT_TRUE(memory.write<uint32_t>(GuestAddress(kHighStart + 0x1ffc), 0x12345678));
  EXPECT_EQ(memory.read<uint32_t>(GuestAddress(kHighStart + 0x1ffc)), 0x12345678U);
  EXPECT_EQ(memory.read<uint32_t>(GuestAddress(0)), 0U);
}

// Under the sanitizers this also says that no null pointer is handed on.
TEST(GuestMemory, AnAccessOfNoBytesSucceedsWhereThereIsMemory) {
  const GuestMemory memory = memory_with_hole();
  EXPECT_TRUE(memory.read_bytes(GuestAddress(0), {}));
  EXPECT_TRUE(memory.write_bytes(GuestAddress(kHighStart), {}));
  EXPECT_FALSE(memory.read_bytes(GuestAddress(kLowEnd), {}));
  EXPECT_FALSE(memory.write_bytes(GuestAddress(kLowEnd), {}));
}

TEST(GuestMemory, TheLengthIsCheckedWithTheAddress) {
  const GuestMemory memory = memory_with_hole();
  std::array<std::byte, 16> buffer{};
  EXPECT_TRUE(memory.read_bytes(GuestAddress(kLowEnd - 16), buffer));
  EXPECT_FALSE(memory.read_bytes(GuestAddress(kLowEnd - 15), buffer));
  EXPECT_FALSE(memory.write_bytes(GuestAddress(kLowEnd), buffer));
  EXPECT_FALSE(memory.read_bytes(GuestAddress(kHighStart - 8), buffer));
  EXPECT_FALSE(memory.read_bytes(GuestAddress(UINT64_MAX - 7), buffer));
  EXPECT_FALSE(memory.contains(GuestAddress(0), UINT64_MAX));
  EXPECT_FALSE(memory.contains(GuestAddress(1), UINT64_MAX));
  EXPECT_FALSE(memory.fill(GuestAddress(kLowEnd - 1), 2, std::byte{1}));
}

TEST(GuestMemory, IsCountedBelowAPlaceByRegions) {
  const GuestMemory memory = memory_with_hole();
  EXPECT_EQ(memory.bytes_below(GuestAddress(0)), 0U);
  EXPECT_EQ(memory.bytes_below(GuestAddress(kHighStart)), kLowEnd);
  EXPECT_EQ(memory.bytes_below(GuestAddress(kHighStart + 1)), memory.size_bytes());
}

TEST(GuestMemory, SharedIntegersMustBeAligned) {
  const GuestMemory memory = memory_with_hole();
  EXPECT_TRUE(memory.store_release<uint16_t>(GuestAddress(2), 7));
  EXPECT_EQ(memory.load_acquire<uint16_t>(GuestAddress(2)), 7);
  EXPECT_FALSE(memory.load_acquire<uint16_t>(GuestAddress(3)));
  EXPECT_FALSE(memory.store_release<uint32_t>(GuestAddress(kLowEnd), 1));
}

TEST(GuestMemory, IoBuffersAreForRangesInsideRamOnly) {
  const GuestMemory memory = memory_with_hole();
  std::vector<iovec> buffers;
  EXPECT_TRUE(memory.io_buffers({GuestAddress(0x1000), 0x3000}, buffers));
  EXPECT_FALSE(memory.io_buffers({GuestAddress(0x1000), 0x3001}, buffers));
  EXPECT_FALSE(memory.io_buffers({GuestAddress(0x1000), 0}, buffers));
  ASSERT_EQ(buffers.size(), 1U);
  EXPECT_EQ(buffers[0].iov_len, 0x3000U);
  EXPECT_EQ(buffers[0].iov_base, memory.regions()[0].mapping.data() + 0x1000);
}

TEST(GuestMemoryDeathTest, RegionsMustNotTouch) {
  std::vector<GuestMemory::Region> regions;
  regions.push_back(region(0, kLowEnd));
  regions.push_back(region(kLowEnd, 0x1000));
  EXPECT_DEATH(GuestMemory(std::move(regions)), "overlap or touch");
}

TEST(GuestAddress, SumsThatWrapAreNone) {
  EXPECT_EQ(GuestAddress(1).plus(2), GuestAddress(3));
  EXPECT_FALSE(GuestAddress(UINT64_MAX).plus(1));
}

}  // namespace
}  // namespace vmm
