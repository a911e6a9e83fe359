#include "block/nbd/buffer_pool.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace vmm::block::nbd {
namespace {

TEST(BufferPool, GivesOutSoMuchAtOnceAndNoMore) {
  BufferPool pool;
  std::vector<BufferPool::Buffer> buffers;
  while (pool.has_room_for(1 << 20)) {
    buffers.push_back(pool.take(1 << 20));
  }
  EXPECT_EQ(buffers.size(), BufferPool::kMaxBytes >> 20);
  EXPECT_FALSE(pool.has_room_for(1));
  pool.give_back(std::move(buffers.back()));
  buffers.pop_back();
  EXPECT_TRUE(pool.has_room_for(1));
  for (auto& buffer : buffers) {
    pool.give_back(std::move(buffer));
  }
  EXPECT_TRUE(pool.has_room_for(BufferPool::kMaxBytes));
}

TEST(BufferPool, TheLargestRequestFitsAlone) {
  BufferPool pool;
  ASSERT_TRUE(pool.has_room_for(BufferPool::kMaxBytes));
  auto buffer = pool.take(BufferPool::kMaxBytes);
  ASSERT_TRUE(buffer);
  EXPECT_FALSE(pool.has_room_for(1));
  pool.give_back(std::move(buffer));
}

TEST(BufferPool, WhatWasGivenBackIsGivenOutAgain) {
  BufferPool pool;
  auto first = pool.take(5000);
  const std::byte* const place = first.memory.get();
  EXPECT_GE(first.capacity, 5000U);
  pool.give_back(std::move(first));
  auto second = pool.take(8000);
  EXPECT_EQ(second.memory.get(), place);
  pool.give_back(std::move(second));
}

}  // namespace
}  // namespace vmm::block::nbd
