#include "vmm/net/spoof_rules.h"

#include <algorithm>
#include <optional>

#include "vmm/base/bytes.h"
#include "vmm/net/tcp_frame.h"

namespace vmm::net {
namespace {

constexpr size_t kSourceMacAt = 6;
constexpr size_t kTypeBytes = 2;
constexpr uint16_t kLeastEtherType = 0x0600;  // below it is a length (IEEE 802.3, section 3.2.6)
constexpr size_t kSnapBytes = 8;              // LLC's three bytes, an organization's three, a type
constexpr std::array<std::byte, 6> kSnapOfEthernet = {std::byte{0xaa}, std::byte{0xaa}, std::byte{3}};
constexpr size_t kArpBytes = 28;
constexpr size_t kArpSenderMacAt = 8;
constexpr size_t kArpSenderIpAt = 14;
// Ethernet, IPv4, and the lengths of their addresses.
constexpr std::array<std::byte, 6> kArpOfIp4 = {std::byte{0}, std::byte{1}, std::byte{8},
                                                std::byte{0}, std::byte{6}, std::byte{4}};
constexpr size_t kProtocolAt = 9;
constexpr size_t kSourceIpAt = 12;
constexpr std::byte kProtocolUdp{17};

bool is_tag(uint16_t type) { return type == 0x8100 || type == 0x88a8 || type == 0x9100; }

struct Payload {
  uint16_t type = 0;
  size_t at = 0;
  bool is_plain = true;  // without tags and SNAP
};

bool is_at(std::span<const std::byte> front, size_t at, std::span<const std::byte> bytes) {
  return front.size() >= at + bytes.size() && std::ranges::equal(front.subspan(at, bytes.size()), bytes);
}

// Nothing: it is hidden, or cut off.
std::optional<Payload> payload_of(std::span<const std::byte> front) {
  Payload payload{.type = load_be<uint16_t>(&front[kEtherTypeAt]), .at = kEthernetHeaderBytes};
  for (size_t tags = 0; is_tag(payload.type); ++tags) {
    if (tags == SpoofRules::kMostTags || front.size() < payload.at + kVlanTagBytes) {
      return std::nullopt;
    }
    payload = {.type = load_be<uint16_t>(&front[payload.at + kVlanTagBytes - kTypeBytes]),
               .at = payload.at + kVlanTagBytes,
               .is_plain = false};
  }
  if (payload.type < kLeastEtherType && is_at(front, payload.at, kSnapOfEthernet)) {
    if (front.size() < payload.at + kSnapBytes) {
      return std::nullopt;
    }
    payload = {.type = load_be<uint16_t>(&front[payload.at + kSnapBytes - kTypeBytes]),
               .at = payload.at + kSnapBytes,
               .is_plain = false};
    return is_tag(payload.type) ? std::nullopt : std::optional(payload);
  }
  return payload;
}

bool is_of(const std::vector<SpoofRules::Ip4>& addresses, std::span<const std::byte> ip) {
  return std::ranges::any_of(addresses,
                             [&](const SpoofRules::Ip4& each) { return std::ranges::equal(each, ip); });
}

bool is_ip4_right(const SpoofRules& rules, std::span<const std::byte> ip) {
  if (ip.size() < kIp4HeaderBytes || (ip[0] >> 4U) != std::byte{4}) {
    return false;
  }
  const auto source = ip.subspan(kSourceIpAt, sizeof(SpoofRules::Ip4));
  const bool is_unknown = std::ranges::equal(source, SpoofRules::Ip4{});
  return is_of(rules.addresses, source) || (is_unknown && ip[kProtocolAt] == kProtocolUdp);
}

bool is_arp_right(const SpoofRules& rules, std::span<const std::byte> arp) {
  if (arp.size() < kArpBytes || !is_at(arp, 0, kArpOfIp4)) {
    return false;
  }
  return (!rules.own_mac_in_arp || is_at(arp, kArpSenderMacAt, rules.mac)) &&
         (!rules.own_ip_in_arp ||
          is_of(rules.addresses, arp.subspan(kArpSenderIpAt, sizeof(SpoofRules::Ip4))));
}

// What has been looked at ends here.
size_t end_of_checked(const Payload& payload) {
  switch (payload.type) {
    case kEtherTypeIp4:
      return payload.at + kIp4HeaderBytes;
    case kEtherTypeArp:
      return payload.at + kArpBytes;
    default:
      return payload.at + (payload.type < kLeastEtherType ? kSnapBytes : 0);
  }
}

}  // namespace

bool SpoofRules::may_send(const PacketHeader& header, std::span<const std::byte> front) const {
  if (own_mac && !is_at(front, kSourceMacAt, mac)) {
    return false;
  }
  const auto payload = payload_of(front);
  if (!payload) {
    return false;
  }
  const size_t checksum_at = size_t{header.checksum_start} + header.checksum_offset;
  if ((header.flags & PacketHeader::kNeedsChecksum) != 0 && checksum_at < end_of_checked(*payload)) {
    return false;
  }
  const bool is_ip4 = payload->type == kEtherTypeIp4;
  const bool is_arp = payload->type == kEtherTypeArp;
  if (only_ip4_and_arp && !(payload->is_plain && (is_ip4 || is_arp))) {
    return false;
  }
  const auto packet = front.subspan(payload->at);
  if (is_ip4) {
    return !own_ip || is_ip4_right(*this, packet);
  }
  if (is_arp) {
    return !(own_mac_in_arp || own_ip_in_arp) || is_arp_right(*this, packet);
  }
  return true;
}

bool SpoofRules::may_receive(std::span<const std::byte> front) const {
  const auto type = load_be<uint16_t>(&front[kEtherTypeAt]);
  return !only_ip4_and_arp || type == kEtherTypeIp4 || type == kEtherTypeArp;
}

}  // namespace vmm::net
