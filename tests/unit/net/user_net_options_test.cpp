// What may be told about a user network.
#include "vmm/net/user_net_options.h"

#include <gtest/gtest.h>

namespace vmm::net {
namespace {

std::string text_of(const UserNetOptions& options) {
  const auto status = check(options);
  return status ? "" : status.error().message();
}

TEST(UserNetworkOptions, AreThoseOfQemuAtFirst) {
  const UserNetOptions options;
  EXPECT_EQ(text_of(options), "");
  EXPECT_EQ(options.ip4->host.text(), "10.0.2.2");
  EXPECT_EQ(options.ip4->dns.text(), "10.0.2.3");
  EXPECT_EQ(options.ip4->first_dhcp.text(), "10.0.2.15");
  EXPECT_EQ(options.ip6->prefix.text(), "fec0::");
  EXPECT_EQ(options.ip6->host.text(), "fec0::2");
  EXPECT_EQ(options.ip6->dns.text(), "fec0::3");
}

TEST(UserNetworkOptions, ANetworkHasTheAddressesThatQemuWouldChoose) {
  const auto small = UserNetOptions::Ip4::within(IpAddress::v4(192, 168, 7, 99), 27);
  EXPECT_EQ(small.network.text(), "192.168.7.96");
  EXPECT_EQ(small.host.text(), "192.168.7.98");
  EXPECT_EQ(small.first_dhcp.text(), "192.168.7.111");
  const auto large = UserNetOptions::Ip4::within(IpAddress::v4(172, 17, 2, 0), 16);
  EXPECT_EQ(large.network.text(), "172.17.0.0");
  EXPECT_EQ(large.host.text(), "172.17.2.2");
  EXPECT_EQ(large.dns.text(), "172.17.2.3");
  EXPECT_EQ(large.first_dhcp.text(), "172.17.2.15");
  const UserNetOptions::Ip6 ip6(IpAddress::parse("2001:db8:1::").value(), 48);
  EXPECT_EQ(ip6.host.text(), "2001:db8:1::2");
  EXPECT_EQ(text_of({.ip4 = small}), "");
  EXPECT_EQ(text_of({.ip4 = large, .ip6 = ip6}), "");
}

TEST(UserNetworkOptions, ThatAreWrongAreNamed) {
  using Ip4 = UserNetOptions::Ip4;
  EXPECT_EQ(text_of({.ip4 = std::nullopt, .ip6 = std::nullopt}), "a user network needs IPv4 or IPv6");
  EXPECT_EQ(text_of({.ip4 = Ip4::within(IpAddress::v4(10, 0, 2, 0), 28)}),
            "10.0.2.0/28 is not an IPv4 network with a prefix of 8 to 27 bits");
  EXPECT_EQ(text_of({.ip4 = Ip4{.dns = IpAddress::v4(10, 0, 3, 3)}}),
            "the DNS server 10.0.3.3 is not in the network 10.0.2.0/24");
  EXPECT_EQ(text_of({.ip4 = Ip4{.dns = IpAddress::v4(10, 0, 2, 2)}}),
            "the host, the DNS server and the first address for DHCP have to differ in 10.0.2.0/24");
  EXPECT_EQ(text_of({.mtu = 1000}), "an MTU of 1000 bytes is not from 1280 to 65521");
  EXPECT_EQ(text_of({.ip6 = std::nullopt, .mtu = 1000}), "");
  EXPECT_EQ(text_of({.mtu = 65522}), "an MTU of 65522 bytes is not from 1280 to 65521");
  EXPECT_EQ(text_of({.hostname = std::string(33, 'a')}),
            "the host name " + std::string(33, 'a') + " is longer than 32 bytes");
  EXPECT_EQ(text_of({.tftp_folder = "/dev/null"}), "the TFTP folder /dev/null is not there");
  EXPECT_FALSE(check(PortForward{.host_port = 1}));
  EXPECT_FALSE(check(PortForward{.guest_port = 1}));
  EXPECT_TRUE(check(PortForward{.host_port = 1, .guest_port = 65535}));
}

}  // namespace
}  // namespace vmm::net
