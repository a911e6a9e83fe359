// Addresses of IPv4 and IPv6.
#include "vmm/base/ip_address.h"

#include <gtest/gtest.h>

namespace vmm {
namespace {

TEST(IpAddresses, AreReadAndWritten) {
  EXPECT_EQ(IpAddress::parse("10.0.2.15"), IpAddress::v4(10, 0, 2, 15));
  EXPECT_EQ(IpAddress::parse("fec0:0::2")->text(), "fec0::2");
  EXPECT_TRUE(IpAddress::parse("::")->is_any());
  EXPECT_FALSE(IpAddress::parse("::")->is_v4());
  EXPECT_TRUE(IpAddress().is_any());
  EXPECT_EQ(IpAddress().text(), "0.0.0.0");
  for (const std::string_view text : {"", "10.0.2", "10.0.2.256", "010.0.2.1 ", "fe80::1%eth0", "host"}) {
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  }
  EXPECT_FALSE(IpAddress::parse(std::string_view("10.0.2.1\0", 9)));
}

TEST(IpAddresses, AreInNetworks) {
  const auto address = IpAddress::v4(10, 0, 2, 15);
  EXPECT_TRUE(address.is_in(IpAddress::v4(10, 0, 2, 0), 24));
  EXPECT_TRUE(address.is_in(IpAddress::v4(10, 0, 2, 0), 28));
  EXPECT_FALSE(address.is_in(IpAddress::v4(10, 0, 2, 0), 29));
  EXPECT_TRUE(address.is_in(IpAddress::v4(99, 0, 0, 0), 0));
  EXPECT_FALSE(address.is_in(IpAddress::v4(10, 0, 2, 15), 33));
  EXPECT_FALSE(address.is_in(IpAddress::parse("::").value(), 0));
  EXPECT_TRUE(IpAddress::parse("fec0::2")->is_in(IpAddress::parse("fec0::").value(), 64));
  EXPECT_FALSE(IpAddress::parse("fec1::2")->is_in(IpAddress::parse("fec0::").value(), 64));
}

}  // namespace
}  // namespace vmm
