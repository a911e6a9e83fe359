// SpoofRules: what a guest may send as whom; libvirt's network filters against false addresses
// (no-mac-spoofing, no-ip-spoofing, no-arp-mac-spoofing, no-arp-ip-spoofing, clean-traffic).
//
// The header that counts is looked for behind VLAN tags (IEEE 802.1Q) and behind LLC and SNAP (RFC 1042), as
// a receiver would; what hides it behind more of them than kMostTags is refused. Each fragment of an IPv4
// packet has a header of its own, and is looked at by itself. A checksum that is still to be filled in may
// not come to lie in what was looked at: that would change it afterwards.
//
// Threads: values; any.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmm/core/net_end.h"

namespace vmm::net {

struct SpoofRules {
  using Ip4 = std::array<std::byte, 4>;

  static constexpr size_t kMostTags = 2;
  // As much of a frame is looked at: Ethernet's header, tags, LLC and SNAP, an ARP packet of IPv4.
  static constexpr size_t kLookedAtBytes = kEthernetHeaderBytes + kMostTags * kVlanTagBytes + 8 + 28;

  bool own_mac = false;           // frames come from its MAC address
  bool own_ip = false;            // IPv4 packets from one of its addresses, or by UDP from 0.0.0.0 (DHCP)
  bool own_mac_in_arp = false;    // ARP (RFC 826) tells its MAC address as the sender's,
  bool own_ip_in_arp = false;     // and one of its IPv4 addresses
  bool only_ip4_and_arp = false;  // both ways, and without tags
  std::array<std::byte, 6> mac{};
  std::vector<Ip4> addresses{};

  // front: the frame's first kLookedAtBytes, or all of a shorter one, from kEthernetHeaderBytes on.
  bool may_send(const PacketHeader& header, std::span<const std::byte> front) const;
  bool may_receive(std::span<const std::byte> front) const;
};

}  // namespace vmm::net
