#include "block/live/work_map.h"

#include <gtest/gtest.h>

namespace vmm::block {
namespace {

TEST(WorkMap, EveryChunkIsToBeDoneAndTheLastEndsWithTheDisk) {
  WorkMap map(WorkMap::kMinChunkBytes * 130 + 512);
  EXPECT_EQ(map.chunks(), 131U);
  EXPECT_EQ(map.left(), 131U);
  EXPECT_EQ(map.range_of(130).length(), 512U);
  EXPECT_EQ(map.last_of({.begin = 0, .end = UINT64_MAX}), 130U);
  for (uint64_t chunk = 0; chunk < map.chunks(); ++chunk) {
    map.set(chunk, false);
    map.set(chunk, false);
  }
  EXPECT_EQ(map.left(), 0U);
  EXPECT_FALSE(map.find(0, 130));
  map.set(129, true);
  EXPECT_EQ(map.left(), 1U);
  EXPECT_EQ(map.find(0, 130), 129U);
  EXPECT_FALSE(map.find(0, 128));
  EXPECT_FALSE(map.find(130, 200));
}

TEST(WorkMap, ALongDiskHasLongerChunksAndNotMoreOfThem) {
  const WorkMap map(uint64_t{1} << 62U);
  EXPECT_LE(map.chunks(), WorkMap::kMaxChunks);
  EXPECT_EQ(map.chunks() * map.chunk_bytes(), uint64_t{1} << 62U);
}

TEST(WorkMap, AnEmptyDiskHasNothingToDo) {
  const WorkMap map(0);
  EXPECT_EQ(map.chunks(), 0U);
  EXPECT_FALSE(map.find(0, 0));
}

}  // namespace
}  // namespace vmm::block
