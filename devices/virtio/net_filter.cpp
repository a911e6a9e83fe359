#include "devices/virtio/net_filter.h"

#include <algorithm>

#include "vmm/base/bytes.h"

namespace vmm::virtio {
namespace {

constexpr MacAddress kBroadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
// IEEE 802.1Q.
constexpr uint16_t kVlanType = 0x8100;
constexpr uint16_t kVlanIdMask = 0x0fff;

bool is_listed(const NetFilter::List& list, const MacAddress& address) {
  return list.has_overflown || std::ranges::find(list.addresses, address) != list.addresses.end();
}

}  // namespace

bool NetFilter::is_wanted_vlan(std::span<const std::byte> peek) const {
  if (!filters_vlans || peek.size() < kPeekBytes || load_be<uint16_t>(&peek[12]) != kVlanType) {
    return true;
  }
  return vlans.test(load_be<uint16_t>(&peek[14]) & kVlanIdMask);
}

bool NetFilter::is_wanted(std::span<const std::byte> peek) const {
  if (peek.size() < kEthernetHeaderBytes) {
    return false;
  }
  if (is_promiscuous) {
    return true;
  }
  MacAddress to{};
  std::ranges::transform(peek.first(to.size()), to.begin(),
                         [](std::byte byte) { return std::to_integer<uint8_t>(byte); });
  if (!is_wanted_vlan(peek)) {
    return false;
  }
  if (to == kBroadcast) {
    return !takes_no_broadcast;
  }
  if ((to[0] & 1U) != 0) {
    return !takes_no_multicast && (takes_all_multicast || is_listed(multicast, to));
  }
  return !takes_no_unicast && (takes_all_unicast || to == own_ || is_listed(unicast, to));
}

}  // namespace vmm::virtio
