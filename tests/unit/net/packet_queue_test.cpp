// Packets that wait for a guest.
#include "vmm/net/packet_queue.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "tests/unit/net/frames.h"

namespace vmm::net {
namespace {

std::optional<Bytes> taken(PacketQueue& queue, size_t room_bytes = 5000) {
  Bytes room(room_bytes);
  const size_t half = room.size() / 2;
  const iovec buffers[] = {{.iov_base = room.data(), .iov_len = half},
                           {.iov_base = room.data() + half, .iov_len = room.size() - half}};
  const size_t count = queue.receive(buffers);
  if (count == 0) {
    return std::nullopt;
  }
  return Bytes(room.begin() + kPacketHeaderBytes, room.begin() + static_cast<ptrdiff_t>(count));
}

TEST(PacketQueues, GiveAPacketBehindItsHeader) {
  PacketQueue queue(1000);
  ASSERT_TRUE(queue.push({.flags = 1, .checksum_start = 34}, pattern(20)));
  Bytes room(100);
  // The first buffer holds a part of the header only.
  const iovec buffers[] = {{.iov_base = room.data(), .iov_len = 5},
                           {.iov_base = room.data() + 5, .iov_len = 95}};
  EXPECT_EQ(queue.receive(buffers), 32U);
  EXPECT_EQ(room[0], std::byte{1});
  EXPECT_EQ(room[6], std::byte{34});
  EXPECT_EQ(Bytes(room.begin() + 12, room.begin() + 32), pattern(20));
  EXPECT_EQ(queue.receive(buffers), 0U);
}

TEST(PacketQueues, DropWhatIsLongerThanTheRoom) {
  PacketQueue queue(1000);
  ASSERT_TRUE(queue.push({}, pattern(200)));
  ASSERT_TRUE(queue.push({}, pattern(50, 1)));
  EXPECT_EQ(taken(queue, 100), pattern(50, 1));
  ASSERT_TRUE(queue.push({}, pattern(200)));
  EXPECT_FALSE(taken(queue, 100));
  EXPECT_TRUE(queue.is_empty());
  EXPECT_EQ(queue.bytes(), 0U);
}

TEST(PacketQueues, TakeNoMoreThanTheirBound) {
  PacketQueue queue(1000);
  size_t count = 0;
  while (queue.push({}, pattern(88))) {
    ++count;
  }
  EXPECT_EQ(count, 10U);
  EXPECT_EQ(queue.bytes(), 1000U);
  EXPECT_FALSE(queue.extend_last(pattern(1)));
  EXPECT_TRUE(taken(queue));
  EXPECT_TRUE(queue.push({}, pattern(88)));
  queue.clear();
  EXPECT_TRUE(queue.push({}, pattern(988)));
  EXPECT_FALSE(queue.push({}, pattern(14)));
}

TEST(PacketQueues, LetTheirLastPacketGrow) {
  PacketQueue queue(1000);
  ASSERT_TRUE(queue.push({}, pattern(100)));
  ASSERT_TRUE(queue.extend_last(pattern(50, 100)));
  EXPECT_EQ(queue.last_frame().size(), 150U);
  ASSERT_TRUE(queue.push({}, pattern(14)));
  EXPECT_EQ(taken(queue), pattern(150));
  EXPECT_EQ(taken(queue), pattern(14));
}

TEST(PacketQueues, GiveWhatTheyWereGivenInItsOrder) {
  std::mt19937 random(2);
  PacketQueue queue(4000);
  std::deque<Bytes> expected;
  for (int i = 0; i < 20'000; ++i) {
    const Bytes bytes = pattern(14 + random() % 700, random() % 1000);
    switch (random() % 3) {
      case 0:
        if (queue.push({}, bytes)) {
          expected.push_back(bytes);
        } else {
          EXPECT_GT(queue.bytes() + bytes.size() + kPacketHeaderBytes, 4000U - 714);
        }
        break;
      case 1:
        if (!queue.is_empty() && queue.extend_last(bytes)) {
          expected.back() += bytes;
        }
        break;
      default: {
        const auto packet = taken(queue);
        ASSERT_EQ(packet.has_value(), !expected.empty());
        if (packet) {
          ASSERT_EQ(*packet, expected.front());
          expected.pop_front();
        }
      }
    }
  }
}

}  // namespace
}  // namespace vmm::net
