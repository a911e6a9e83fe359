#include "vmm/console/output_buffer.h"

#include <gtest/gtest.h>

#include <string>

#include "vmm/base/bytes.h"

namespace vmm {
namespace {

using Policy = OutputBuffer::Policy;
using Wake = OutputBuffer::Wake;
constexpr size_t kCapacity = OutputBuffer::kCapacityBytes;

std::string take(OutputBuffer& buffer, size_t count) {
  std::string text;
  for (const auto piece : buffer.pending()) {
    for (const std::byte byte : piece) {
      text.push_back(std::to_integer<char>(byte));
    }
  }
  text.resize(std::min(count, text.size()));
  buffer.consume(text.size());
  return text;
}

OutputBuffer::Appended append(OutputBuffer& buffer, std::string_view text) {
  return buffer.append(as_bytes(text));
}

TEST(OutputBuffer, GivesBytesBackInOrder) {
  OutputBuffer buffer;
  append(buffer, "abc");
  append(buffer, "def");
  EXPECT_EQ(take(buffer, 4), "abcd");
  EXPECT_EQ(take(buffer, 4), "ef");
  EXPECT_TRUE(buffer.is_empty());
}

TEST(OutputBuffer, KeepsTheOrderRoundItsEnd) {
  OutputBuffer buffer;
  append(buffer, std::string(kCapacity - 2, '.'));
  take(buffer, kCapacity - 3);
  append(buffer, "abcdef");
  EXPECT_EQ(take(buffer, 100), ".abcdef");
}

TEST(OutputBuffer, WakesSoonForTheFirstByteOnly) {
  OutputBuffer buffer;
  EXPECT_EQ(append(buffer, "a").wake, Wake::kSoon);
  EXPECT_EQ(append(buffer, "b").wake, Wake::kNot);
}

TEST(OutputBuffer, WakesNowForALineOnceUntilFlushed) {
  OutputBuffer buffer;
  append(buffer, "a");
  EXPECT_EQ(append(buffer, "\n").wake, Wake::kNow);
  EXPECT_EQ(append(buffer, "b\n").wake, Wake::kNot);
  EXPECT_TRUE(buffer.begin_flush());
  EXPECT_EQ(append(buffer, "c\n").wake, Wake::kNow);
  EXPECT_FALSE(buffer.begin_flush());
}

TEST(OutputBuffer, WakesNowForMuchWithoutALine) {
  OutputBuffer buffer;
  EXPECT_EQ(append(buffer, std::string(4096, 'x')).wake, Wake::kNow);
}

TEST(OutputBuffer, RefusesWhatDoesNotFitAndTellsWhenHalfIsFree) {
  OutputBuffer buffer;
  EXPECT_EQ(append(buffer, std::string(kCapacity + 5, 'x')).taken_bytes, kCapacity);
  EXPECT_TRUE(buffer.is_producer_waiting());
  EXPECT_FALSE(buffer.consume(kCapacity / 2 - 1));
  EXPECT_TRUE(buffer.consume(1));
  EXPECT_FALSE(buffer.consume(1));
}

TEST(OutputBuffer, TellsItsRoomAndThatThereIsMore) {
  OutputBuffer buffer;
  append(buffer, std::string(kCapacity - 5, 'x'));
  EXPECT_EQ(buffer.room_for(5), 5U);
  EXPECT_FALSE(buffer.is_producer_waiting());
  EXPECT_EQ(buffer.room_for(6), 5U);
  EXPECT_TRUE(buffer.is_producer_waiting());
  EXPECT_TRUE(buffer.consume(kCapacity / 2));
  append(buffer, std::string(kCapacity / 2, 'x'));
  buffer.set_policy(Policy::kDropWhenFull);
  EXPECT_EQ(buffer.room_for(kCapacity), kCapacity);
}

TEST(OutputBuffer, AProducerThatFitsIsNotTold) {
  OutputBuffer buffer;
  append(buffer, std::string(kCapacity, 'x'));
  EXPECT_FALSE(buffer.consume(kCapacity));
}

TEST(OutputBuffer, DropsWhenFullAndCounts) {
  OutputBuffer buffer;
  append(buffer, std::string(kCapacity + 1, 'x'));
  EXPECT_TRUE(buffer.set_policy(Policy::kDropWhenFull));
  EXPECT_EQ(append(buffer, "12345").taken_bytes, 5U);
  EXPECT_EQ(buffer.take_dropped_bytes(), 5U);
  EXPECT_EQ(buffer.take_dropped_bytes(), 0U);
  EXPECT_EQ(take(buffer, kCapacity + 1).size(), kCapacity);
}

TEST(OutputBuffer, DropsAllWithoutWakingAnybody) {
  OutputBuffer buffer;
  append(buffer, "old");
  buffer.begin_flush();
  buffer.set_policy(Policy::kDropAll);
  EXPECT_TRUE(buffer.is_empty());
  const auto appended = append(buffer, "new\n");
  EXPECT_EQ(appended.taken_bytes, 4U);
  EXPECT_EQ(appended.wake, Wake::kNot);
  EXPECT_TRUE(buffer.is_empty());
}

}  // namespace
}  // namespace vmm
