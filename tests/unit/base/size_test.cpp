// Sizes as people and scripts write them.
#include "vmm/base/size.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

namespace vmm {
namespace {

TEST(Sizes, AreBytesOrMultiplesOf1024) {
  constexpr std::array<std::pair<std::string_view, uint64_t>, 16> kSizes = {{
      {"0", 0},
      {"512", 512},
      {"512b", 512},
      {"64k", 65536},
      {"64K", 65536},
      {"1M", 1 << 20},
      {"1.5G", (uint64_t{3} << 30) / 2},
      {"0.1k", 102},
      {"10MiB", 10 << 20},
      {"1.5giB", (uint64_t{3} << 30) / 2},
      {"1.99999999999999999999999999999999999k", 2047},
      {"0.000000000001E", 1152921},
      {"0x200", 512},
      {"0Xffff", 65535},
      {"7.99E", 9211842821808707338},
      {"9223372036854775807", INT64_MAX},
  }};
  for (const auto& [text, bytes] : kSizes) {
    EXPECT_EQ(parse_size(text).value_or(1), bytes) << text;
  }
}

TEST(Sizes, OthersAreNone) {
  for (const std::string_view text : {"",
                                      "k",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 k",
                                      "1kB",
                                      "1iB",
                                      "1biB",
                                      "1kiBs",
                                      "1x",
                                      "1.",
                                      "1.k",
                                      ".5G",
                                      "1.5",
                                      "1.5b",
                                      "1..5k",
                                      "0x",
                                      "0x1k",
                                      "0x1.8",
                                      "1e3",
                                      "8E",
                                      "7.9999999999999999999E8",
                                      "9223372036854775808",
                                      "18446744073709551616",
                                      "0x8000000000000000"}) {
    EXPECT_FALSE(parse_size(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace vmm
