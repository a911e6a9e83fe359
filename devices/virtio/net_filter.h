// NetFilter: which frames a guest wants to receive, as its driver says through the control queue of the
// network device (virtio 1.2, section 5.1.6.5).
//
// Threads: values.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmm/core/net_end.h"

namespace vmm::virtio {

using MacAddress = std::array<uint8_t, 6>;

class NetFilter {
 public:
  // More addresses than these are no list: all frames of that kind are wanted.
  static constexpr size_t kMaxAddresses = 64;
  static constexpr size_t kVlans = 4096;
  // What is_wanted() looks at: the two addresses, and a VLAN tag.
  static constexpr size_t kPeekBytes = kEthernetHeaderBytes + kVlanTagBytes;

  struct List {
    std::vector<MacAddress> addresses;  // at most kMaxAddresses
    bool has_overflown = false;
  };

  // Nothing is filtered out before the driver has said what it wants.
  explicit NetFilter(const MacAddress& own) : own_(own) {}

  // By the first bytes of the frame; those of one that is shorter than a header are not wanted.
  bool is_wanted(std::span<const std::byte> peek) const;

  bool is_promiscuous = true;
  bool takes_all_multicast = false;
  bool takes_all_unicast = false;
  bool takes_no_multicast = false;
  bool takes_no_unicast = false;
  bool takes_no_broadcast = false;
  List unicast;
  List multicast;
  // Without the feature VIRTIO_NET_F_CTRL_VLAN all are wanted.
  bool filters_vlans = false;
  std::bitset<kVlans> vlans;

  const MacAddress& own() const { return own_; }
  void set_own(const MacAddress& own) { own_ = own; }

 private:
  bool is_wanted_vlan(std::span<const std::byte> peek) const;

  MacAddress own_;
};

}  // namespace vmm::virtio
