// What is to be told about a user network (user_net.h). Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/ip_address.h"

namespace vmm::net {

// A port of the host that leads to one of the guest.
struct PortForward {
  enum class Protocol : uint8_t { kTcp, kUdp };

  Protocol protocol = Protocol::kTcp;
  IpAddress host_address = IpAddress::v4(127, 0, 0, 1);  // any (0.0.0.0, ::): all of the host's
  uint16_t host_port = 0;                                // from 1
  std::optional<IpAddress> guest_address;  // nothing: the first that DHCP gives; without IPv4, the guest's
  uint16_t guest_port = 0;                 // from 1
};

struct UserNetOptions {
  struct Ip4 {
    // The host's address is the network's plus 0.0.2.2 as far as it fits, and so on, as QEMU does.
    // REQUIRES: the network is of IPv4; prefix_bits <= 32.
    static Ip4 within(const IpAddress& network, unsigned prefix_bits);

    IpAddress network = IpAddress::v4(10, 0, 2, 0);
    unsigned prefix_bits = 24;                           // 8 to 27
    IpAddress host = IpAddress::v4(10, 0, 2, 2);         // the router; the host, for the guest
    IpAddress dns = IpAddress::v4(10, 0, 2, 3);          // relayed to the host's
    IpAddress first_dhcp = IpAddress::v4(10, 0, 2, 15);  // of 16
  };
  struct Ip6 {
    // fec0::/64, with fec0::2 and fec0::3.
    Ip6();
    // REQUIRES: the prefix is of IPv6; prefix_bits <= 128.
    Ip6(const IpAddress& prefix, unsigned prefix_bits);

    IpAddress prefix;
    unsigned prefix_bits = 64;  // 8 to 126
    IpAddress host;
    IpAddress dns;
  };

  std::optional<Ip4> ip4 = Ip4();
  std::optional<Ip6> ip6 = Ip6();
  std::string hostname;                 // by DHCP; at most 32 bytes; empty: none
  std::vector<std::string> dns_search;  // by DHCP
  std::string tftp_folder;              // whose files the guest may read; empty: no TFTP
  std::string boot_file;                // by DHCP, for network boots; at most 127 bytes; empty: none
  bool is_restricted = false;           // the guest reaches nothing, but is reached by `forwards`
  uint32_t mtu = 1500;                  // of IP packets for the guest: 1280 (without IPv6: 576) to 65521
  std::vector<PortForward> forwards;
};

// An error says what is wrong. That of forwards is looked at one by one.
Status check(const UserNetOptions& options);
Status check(const PortForward& forward);

}  // namespace vmm::net
