#include "vmm/net/link_counters.h"

#include <gtest/gtest.h>

namespace vmm::net {
namespace {

constexpr const char* kText =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls "
    "carrier compressed\n"
    "    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0 "
    "      0          0\n"
    "vnet10:       7       6    0    5    0     0          0         0        4       3    0    2    0     0 "
    "      0          0\n"
    " vnet1: 18446744073709551615 20 0 21 0 0 0 0 22 23 0 24 0 0 0 0\n"
    "broken: 1 2 x\n";

TEST(LinkCounters, AreThoseOfTheNamedInterface) {
  const auto found = link_counters_in(kText, "vnet1");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->received.bytes, UINT64_MAX);
  EXPECT_EQ(found->received.packets, 20U);
  EXPECT_EQ(found->received.dropped, 21U);
  EXPECT_EQ(found->sent.bytes, 22U);
  EXPECT_EQ(found->sent.packets, 23U);
  EXPECT_EQ(found->sent.dropped, 24U);
  EXPECT_EQ(link_counters_in(kText, "vnet10")->sent.bytes, 4U);
}

TEST(LinkCounters, AreNoneOfAnInterfaceThatIsNotThere) {
  EXPECT_FALSE(link_counters_in(kText, "vnet"));
  EXPECT_FALSE(link_counters_in(kText, "broken"));
  EXPECT_FALSE(link_counters_in("", "lo"));
  EXPECT_FALSE(link_counters("no-such-one"));
  EXPECT_TRUE(link_counters("lo"));
}

}  // namespace
}  // namespace vmm::net
