#include "boot/aml.h"

#include <gtest/gtest.h>

#include "tests/unit/boot/boot_test_support.h"

namespace vmm::boot::aml {
namespace {

Bytes bytes(std::initializer_list<unsigned> values) {
  Bytes result;
  for (const unsigned value : values) {
    result.push_back(static_cast<std::byte>(value));
  }
  return result;
}

Bytes integer(uint64_t value) {
  const Bytes name = name_integer("ABCD", value);
  EXPECT_EQ(Bytes(name.begin(), name.begin() + 5), bytes({0x08, 'A', 'B', 'C', 'D'}));
  return {name.begin() + 5, name.end()};
}

TEST(Aml, IntegersTakeTheShortestForm) {
  EXPECT_EQ(integer(0), bytes({0x00}));
  EXPECT_EQ(integer(1), bytes({0x01}));
  EXPECT_EQ(integer(0xff), bytes({0x0a, 0xff}));
  EXPECT_EQ(integer(0x1234), bytes({0x0b, 0x34, 0x12}));
  EXPECT_EQ(integer(0x12345678), bytes({0x0c, 0x78, 0x56, 0x34, 0x12}));
  EXPECT_EQ(integer(0x1'0000'0000), bytes({0x0e, 0, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(Aml, StringsEndWithNul) {
  EXPECT_EQ(name_string("_HID", "AB"), bytes({0x08, '_', 'H', 'I', 'D', 0x0d, 'A', 'B', 0}));
}

TEST(Aml, IntegersInAPackageAreCounted) {
  EXPECT_EQ(name_integers("ADDR", {0xfe, 0}),
            bytes({0x08, 'A', 'D', 'D', 'R', 0x12, 5, 2, 0x0a, 0xfe, 0x00}));
}

TEST(Aml, ShortPackageLengthIsOneByte) {
  EXPECT_EQ(device("DEV0", {}), bytes({0x5b, 0x82, 5, 'D', 'E', 'V', '0'}));
  EXPECT_EQ(scope("_SB_", bytes({0xa3})), bytes({0x10, 7, '\\', '_', 'S', 'B', '_', 0xa3}));
}

// The length counts its own bytes: from 63 on it is one longer.
TEST(Aml, PackageLengthGrowsAtItsBounds) {
  EXPECT_EQ(device("DEV0", Bytes(58))[2], std::byte{63});
  const Bytes two = device("DEV0", Bytes(59));  // 59 + 4 + 2 = 65
  EXPECT_EQ(Bytes(two.begin() + 2, two.begin() + 4), bytes({0x41, 0x04}));
  const Bytes two_at_most = device("DEV0", Bytes(4089));  // 4095
  EXPECT_EQ(Bytes(two_at_most.begin() + 2, two_at_most.begin() + 4), bytes({0x4f, 0xff}));
  const Bytes three = device("DEV0", Bytes(4090));  // 4090 + 4 + 3 = 4097
  EXPECT_EQ(Bytes(three.begin() + 2, three.begin() + 5), bytes({0x81, 0x00, 0x01}));
}

}  // namespace
}  // namespace vmm::boot::aml
