#include "block/qcow2/reference_counts.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace vmm::block::qcow2 {
namespace {

TEST(ReferenceCounts, CountBeyondTwoBytes) {
  ReferenceCounts counts;
  counts.reset(3);
  for (uint32_t i = 0; i < 65'534; ++i) {
    counts.add(1, 1);
  }
  EXPECT_EQ(counts[1], 65'534U);
  counts.add(1, 1);
  EXPECT_EQ(counts[1], 65'535U);
  counts.add(1, 2);
  EXPECT_EQ(counts[1], 65'537U);
  counts.add(2, 100'000);
  EXPECT_EQ(counts[2], 100'000U);
  EXPECT_EQ(counts[0], 0U);
}

TEST(ReferenceCounts, StopAtTheirLimit) {
  ReferenceCounts counts;
  counts.reset(1);
  counts.add(0, UINT32_MAX - 1);
  counts.add(0, 1);
  counts.add(0, 1);
  EXPECT_EQ(counts[0], UINT32_MAX);
}

TEST(ReferenceCounts, BeginAnewWithEachWindow) {
  ReferenceCounts counts;
  counts.reset(2);
  counts.add(0, 70'000);
  counts.reset(5);
  ASSERT_EQ(counts.size(), 5U);
  EXPECT_EQ(counts[0], 0U);
}

}  // namespace
}  // namespace vmm::block::qcow2
