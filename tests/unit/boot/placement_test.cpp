#include "boot/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/boot/boot_test_support.h"
#include "vmm/base/bytes.h"

namespace vmm::boot {
namespace {

using testing::HasSubstr;

GuestRange range(uint64_t start, uint64_t end) {
  return {.start = GuestAddress(start), .length_bytes = end - start};
}

std::vector<std::pair<uint64_t, uint64_t>> pairs(const std::vector<GuestRange>& ranges) {
  std::vector<std::pair<uint64_t, uint64_t>> result;
  result.reserve(ranges.size());
  for (const GuestRange& r : ranges) {
    result.emplace_back(r.start.value(), r.start.value() + r.length_bytes);
  }
  return result;
}

TEST(Placement, UsableMeansInsideOneUsableEntry) {
  const MemoryMap map = make_memory_map(32 * kMiB).value();
  EXPECT_TRUE(is_usable(map, range(0x100000, 32 * kMiB)));
  EXPECT_TRUE(is_usable(map, range(0, 0x9fc00)));
  EXPECT_FALSE(is_usable(map, range(0, 0x9fc01)));
  EXPECT_FALSE(is_usable(map, range(0x90000, 0x200000)));
  EXPECT_FALSE(is_usable(map, range(0xe0000, 0xe1000)));
  EXPECT_FALSE(is_usable(map, range(32 * kMiB, 32 * kMiB + 1)));
  EXPECT_FALSE(is_usable(map, {.start = GuestAddress(0x100000), .length_bytes = UINT64_MAX}));
  EXPECT_FALSE(is_usable(map, {.start = GuestAddress(UINT64_MAX), .length_bytes = 2}));
}

TEST(Placement, RangesThatTouchDoNotOverlap) {
  EXPECT_FALSE(overlap(range(0, 10), range(10, 20)));
  EXPECT_TRUE(overlap(range(0, 11), range(10, 20)));
  EXPECT_TRUE(overlap(range(10, 20), range(0, 11)));
  EXPECT_TRUE(overlap(range(0, 100), range(10, 20)));
  EXPECT_FALSE(overlap(range(10, 10), range(10, 20)) && overlap(range(20, 20), range(10, 20)));
}

TEST(Placement, FreeIsWhatIsUsableAndNotTaken) {
  const MemoryMap map = make_memory_map(32 * kMiB).value();
  const GuestRange taken[] = {range(20 * kMiB, 24 * kMiB), range(2 * kMiB + 1, 3 * kMiB)};
  EXPECT_THAT(pairs(free_ranges(map, taken, kMiB, 30 * kMiB)),
              testing::ElementsAre(std::pair(kMiB, 2 * kMiB), std::pair(3 * kMiB, 20 * kMiB),
                                   std::pair(24 * kMiB, 30 * kMiB)));
}

TEST(Placement, TheHighestPageAlignedPlaceWins) {
  const GuestRange free[] = {range(kMiB, 2 * kMiB), range(4 * kMiB, 5 * kMiB)};
  EXPECT_EQ(highest_place(free, 1), GuestAddress(5 * kMiB - 4096));
  EXPECT_EQ(highest_place(free, 4097), GuestAddress(5 * kMiB - 8192));
  EXPECT_EQ(highest_place(free, kMiB), GuestAddress(4 * kMiB));
  EXPECT_EQ(highest_place(free, kMiB + 1), std::nullopt);
}

TEST(Placement, InitrdPrefersMemoryBelow4GiB) {
  const TempFolder folder;
  const Guest guest(5 * kGiB);
  const Bytes content = pattern(5000);
  const auto initrd = InputFile::open(folder.write("initrd", content), "initrd");
  ASSERT_TRUE(initrd);
  const auto place = place_initrd(guest.memory, guest.map, *initrd, {}, UINT64_MAX);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->start, GuestAddress(3 * kGiB - 8192));
  EXPECT_EQ(guest.bytes(place->start.value(), content.size()), content);
}

TEST(Placement, InitrdGoesAbove4GiBWhereNoRoomIsLeftBelow) {
  const TempFolder folder;
  const Guest guest(5 * kGiB);
  const auto initrd = InputFile::open(folder.write("initrd", pattern(5000)), "initrd");
  ASSERT_TRUE(initrd);
  const GuestRange taken = range(kMiB, 3 * kGiB);
  const auto place = place_initrd(guest.memory, guest.map, *initrd, std::span(&taken, 1), UINT64_MAX);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->start, GuestAddress(6 * kGiB - 8192));
  EXPECT_FALSE(place_initrd(guest.memory, guest.map, *initrd, std::span(&taken, 1), 4 * kGiB));
}

TEST(Placement, InitrdThatDoesNotFitNamesItsSizeAndWhatIsFree) {
  const TempFolder folder;
  const Guest guest(2 * kMiB);
  const std::string path = folder.write("big.img", pattern(kMiB + 1));
  const auto initrd = InputFile::open(path, "initrd");
  ASSERT_TRUE(initrd);
  const auto place = place_initrd(guest.memory, guest.map, *initrd, {}, UINT64_MAX);
  ASSERT_FALSE(place);
  EXPECT_THAT(place.error().message(), HasSubstr(path + " is 1048577 bytes long"));
  EXPECT_THAT(place.error().message(), HasSubstr("leaves 1048576 bytes"));
}

}  // namespace
}  // namespace vmm::boot
