#include "vmm/base/bytes.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace vmm {
namespace {

std::vector<std::byte> bytes_of(std::initializer_list<unsigned> values) {
  std::vector<std::byte> bytes;
  for (const unsigned value : values) {
    bytes.push_back(static_cast<std::byte>(value));
  }
  return bytes;
}

TEST(Bytes, LittleAndBigEndianAreEachOthersMirror) {
  const auto bytes = bytes_of({0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x88});
  EXPECT_EQ(load_le<uint64_t>(bytes.data()), 0x8807060504030201U);
  EXPECT_EQ(load_be<uint64_t>(bytes.data()), 0x0102030405060788U);
  EXPECT_EQ(load_le<uint16_t>(bytes.data()), 0x0201U);
  EXPECT_EQ(load_be<uint16_t>(bytes.data()), 0x0102U);
}

TEST(Bytes, StoreIsUndoneByLoad) {
  std::array<std::byte, 8> buffer{};
  store_be<uint32_t>(buffer.data(), 0xdeadbeef);
  EXPECT_EQ(buffer[0], std::byte{0xde});
  EXPECT_EQ(load_be<uint32_t>(buffer.data()), 0xdeadbeefU);
  store_le<uint64_t>(buffer.data(), 0x0123456789abcdef);
  EXPECT_EQ(buffer[0], std::byte{0xef});
  EXPECT_EQ(load_le<uint64_t>(buffer.data()), 0x0123456789abcdefU);
}

TEST(Bytes, ReadingPastTheEndGivesNothing) {
  const auto bytes = bytes_of({1, 2, 3, 4, 5});
  EXPECT_EQ(read_le_at<uint32_t>(bytes, 1), 0x05040302U);
  EXPECT_FALSE(read_le_at<uint32_t>(bytes, 2));
  EXPECT_FALSE(read_be_at<uint32_t>(bytes, 2));
  EXPECT_FALSE(read_le_at<uint8_t>(bytes, 5));
  EXPECT_FALSE(read_le_at<uint64_t>(bytes, SIZE_MAX));
}

TEST(Bytes, SizedAccessesAreZeroExtended) {
  EXPECT_EQ(load_le_sized(bytes_of({0xff, 0x01})), 0x1ffU);
  std::array<std::byte, 3> three{};
  store_le_sized(three, 0x11223344);
  EXPECT_EQ(load_le_sized(three), 0x223344U);
}

TEST(Bytes, Alignment) {
  EXPECT_EQ(align_up(0, 4096), 0U);
  EXPECT_EQ(align_up(1, 4096), 4096U);
  EXPECT_EQ(align_down(4097, 4096), 4096U);
  EXPECT_TRUE(is_power_of_two(4096));
  EXPECT_FALSE(is_power_of_two(0));
  EXPECT_FALSE(is_power_of_two(12));
}

}  // namespace
}  // namespace vmm
