// The internet checksum, RFC 1071.
#include "vmm/net/checksum.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/net/frames.h"

namespace vmm::net {
namespace {

uint16_t sum_as_number(std::span<const std::byte> bytes, uint16_t initial = 0) {
  std::array<std::byte, 2> stored{};
  store_sum(stored.data(), sum_words(bytes, initial));
  return load_be<uint16_t>(stored.data());
}

TEST(InternetChecksum, IsTheSumOfTheStandardsExample) {
  EXPECT_EQ(sum_as_number(bytes_of({0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7})), 0xddf2);
  EXPECT_EQ(sum_as_number({}), 0);
}

TEST(InternetChecksum, IsThatOfASumWordByWordForAnyLengthAndPlace) {
  std::mt19937 random(1);
  Bytes bytes(70'000);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random());
  }
  for (size_t length = 0; length < 200; ++length) {
    for (size_t at = 0; at < 8; ++at) {
      const auto part = std::span(bytes).subspan(at, length);
      ASSERT_EQ(sum_as_number(part), slow_sum(part)) << length << " bytes at " << at;
    }
  }
  EXPECT_EQ(sum_as_number(bytes), slow_sum(bytes));
  const Bytes ones(65536, std::byte{0xff});
  EXPECT_EQ(sum_as_number(ones), slow_sum(ones));
}

TEST(InternetChecksum, GoesOnWhereASumEnded) {
  const Bytes bytes = pattern(1001);
  const auto all = std::span<const std::byte>(bytes);
  EXPECT_EQ(sum_words(all.subspan(100), sum_words(all.first(100))), sum_words(all));
}

TEST(InternetChecksum, IsFilledInOverWhatFollowsItsStart) {
  const IpEnds ends{IpAddress::v4(10, 0, 2, 15), IpAddress::v4(10, 0, 2, 2)};
  const Bytes whole = tcp_frame(ends, {.from_port = 1, .to_port = 2, .payload = pattern(333)});
  Bytes frame = whole;
  const auto at = TcpFrame::parse(frame).value();
  store_be<uint16_t>(&frame[at.tcp_at + kTcpChecksumAt],
                     slow_sum({}, pseudo_sum(ends, kIpTcp, frame.size() - at.tcp_at)));
  EXPECT_TRUE(complete_checksum(frame, at.tcp_at, kTcpChecksumAt));
  EXPECT_EQ(frame, whole);
}

TEST(InternetChecksum, IsNeverZero) {
  Bytes bytes = bytes_of({0, 0, 0xff, 0xff});
  EXPECT_TRUE(complete_checksum(bytes, 0, 0));
  EXPECT_EQ(bytes, bytes_of({0xff, 0xff, 0xff, 0xff}));
}

TEST(InternetChecksum, HasNoPlaceBeyondTheBytes) {
  Bytes bytes = pattern(20);
  const Bytes before = bytes;
  EXPECT_FALSE(complete_checksum(bytes, 0, 19));
  EXPECT_FALSE(complete_checksum(bytes, 10, 9));
  EXPECT_FALSE(complete_checksum(bytes, 19, 0));
  EXPECT_FALSE(complete_checksum(bytes, 20, 0));
  EXPECT_FALSE(complete_checksum(bytes, 65535, 65535));
  EXPECT_EQ(bytes, before);
  EXPECT_TRUE(complete_checksum(bytes, 0, 18));
  EXPECT_TRUE(complete_checksum(bytes, 18, 0));
}

}  // namespace
}  // namespace vmm::net
