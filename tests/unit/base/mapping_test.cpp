#include "vmm/base/mapping.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>
#include <utility>

namespace vmm {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;
constexpr int kFresh = MAP_PRIVATE | MAP_ANONYMOUS;

TEST(Mapping, FreshMemoryIsZeroAndWritable) {
  const Mapping mapping = Mapping::map("a test", 8192, kReadWrite, kFresh, -1, 0).value();
  ASSERT_EQ(mapping.size(), 8192U);
  EXPECT_EQ(mapping.data()[8191], std::byte{0});
  mapping.data()[8191] = std::byte{7};
  EXPECT_EQ(mapping.bytes().back(), std::byte{7});
}

TEST(Mapping, MovesLeaveNothingBehind) {
  Mapping first = Mapping::map("a test", 4096, kReadWrite, kFresh, -1, 0).value();
  const std::byte* place = first.data();
  Mapping second = std::move(first);
  EXPECT_EQ(first.data(), nullptr);  // NOLINT(bugprone-use-after-move): that is what is tested
  EXPECT_EQ(second.data(), place);
}

TEST(Mapping, AlignedMappingIsWholeAndAligned) {
  constexpr size_t kAlignment = 2U << 20;
  for (int i = 0; i < 4; ++i) {
    const Mapping mapping =
        Mapping::map_aligned("a test", 3 * 4096, kReadWrite, kFresh, -1, kAlignment).value();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(mapping.data()) % kAlignment, 0U);
    mapping.bytes().front() = std::byte{1};
    mapping.bytes().back() = std::byte{1};
  }
}

TEST(Mapping, NamesWhatCannotBeMapped) {
  const auto mapping = Mapping::map("the moon", SIZE_MAX / 2, kReadWrite, kFresh, -1, 0);
  ASSERT_FALSE(mapping);
  EXPECT_NE(mapping.error().message().find("the moon"), std::string::npos);
}

}  // namespace
}  // namespace vmm
