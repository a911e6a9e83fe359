// VirtioNet's control queue (virtio 1.2, section 5.1.6.5).
#include <algorithm>
#include <array>

#include "devices/virtio/net.h"
#include "devices/virtio/net_features.h"
#include "vmm/base/bytes.h"

namespace vmm::virtio {
namespace {

constexpr std::byte kOk{0};
constexpr std::byte kError{1};

enum Class : uint8_t { kReceiveMode = 0, kMacAddress = 1, kVlan = 2, kPairs = 4, kGuestOffloads = 5 };
constexpr uint8_t kMacTableSet = 0;
constexpr uint8_t kMacAddressSet = 1;
constexpr uint8_t kVlanAdd = 0;
constexpr uint8_t kVlanDelete = 1;
constexpr uint8_t kPairsSet = 0;
constexpr uint8_t kOffloadsSet = 0;
// Of a request: a table of some 10,000 addresses.
constexpr uint64_t kMostBytes = uint64_t{64} << 10U;

template <typename Number>
std::optional<Number> read_number(ByteStream& data) {
  std::array<std::byte, sizeof(Number)> bytes{};
  return data.read(bytes) ? std::optional(load_le<Number>(bytes.data())) : std::nullopt;
}

std::optional<MacAddress> read_address(ByteStream& data) {
  std::array<std::byte, sizeof(MacAddress)> bytes{};
  if (!data.read(bytes)) {
    return std::nullopt;
  }
  MacAddress address{};
  std::ranges::transform(bytes, address.begin(),
                         [](std::byte byte) { return std::to_integer<uint8_t>(byte); });
  return address;
}

std::optional<NetFilter::List> read_list(ByteStream& data) {
  const auto count = read_number<uint32_t>(data);
  if (!count || data.size() / sizeof(MacAddress) < *count) {
    return std::nullopt;
  }
  NetFilter::List list{.addresses = {}, .has_overflown = *count > NetFilter::kMaxAddresses};
  for (uint32_t i = 0; i < *count; ++i) {
    const auto address = read_address(data);
    if (address && !list.has_overflown) {
      list.addresses.push_back(*address);
    }
  }
  return list;
}

}  // namespace

VirtioDevice::Handled VirtioNet::control(uint16_t queue, Chain& chain) {
  if (chain.writable.size() == 0 || chain.has_bad_end) {
    return Handled::kNowhereToSay;
  }
  std::array<std::byte, 2> command{};
  const bool is_done =
      !chain.has_bad_buffer && chain.readable.size() <= kMostBytes && chain.readable.read(command) &&
      carry_out(std::to_integer<uint8_t>(command[0]), std::to_integer<uint8_t>(command[1]), chain.readable);
  if (is_done && command[0] <= std::byte{kVlan}) {
    tell_of_filter();
  }
  const std::array<std::byte, 1> answer{is_done ? kOk : kError};
  const bool is_written = chain.writable.write(answer);
  chains_->give_back(queue, chain.head, is_written ? 1 : 0);
  return Handled::kTaken;
}

void VirtioNet::tell_of_filter() {
  if (options_.on_filter_change && is_filter_watched_.exchange(false)) {
    options_.on_filter_change();
  }
}

bool VirtioNet::carry_out(uint8_t kind, uint8_t command, ByteStream& data) {
  switch (kind) {
    case kReceiveMode:
      return has(net::kControlReceive) && set_receive_mode(command, data);
    case kMacAddress:
      return (command == kMacTableSet && has(net::kControlReceive) && set_addresses(data)) ||
             (command == kMacAddressSet && has(net::kControlMac) && set_own_address(data));
    case kVlan:
      return has(net::kControlVlan) && set_vlan(command, data);
    case kPairs:
      return command == kPairsSet && has(net::kMultiqueue) && set_pairs(data);
    case kGuestOffloads:
      return command == kOffloadsSet && has(net::kControlGuestOffloads) && set_guest_offloads(data);
    default:
      return false;
  }
}

// Section 5.1.6.5.1; the commands from 2 on need the feature of their own.
bool VirtioNet::set_receive_mode(uint8_t command, ByteStream& data) {
  constexpr std::array kModes = {&NetFilter::is_promiscuous,    &NetFilter::takes_all_multicast,
                                 &NetFilter::takes_all_unicast, &NetFilter::takes_no_multicast,
                                 &NetFilter::takes_no_unicast,  &NetFilter::takes_no_broadcast};
  constexpr uint8_t kFirstExtra = 2;
  const auto value = read_number<uint8_t>(data);
  if (!value || command >= kModes.size() || (command >= kFirstExtra && !has(net::kControlReceiveExtra))) {
    return false;
  }
  const MutexLock lock(filter_mutex_);
  filter_.*kModes[command] = *value != 0;
  return true;
}

bool VirtioNet::set_addresses(ByteStream& data) {
  auto unicast = read_list(data);
  auto multicast = unicast ? read_list(data) : std::nullopt;
  if (!multicast) {
    return false;
  }
  const MutexLock lock(filter_mutex_);
  filter_.unicast = *std::move(unicast);
  filter_.multicast = *std::move(multicast);
  return true;
}

bool VirtioNet::set_own_address(ByteStream& data) {
  const auto address = read_address(data);
  if (!address) {
    return false;
  }
  const MutexLock lock(filter_mutex_);
  filter_.set_own(*address);
  return true;
}

bool VirtioNet::set_vlan(uint8_t command, ByteStream& data) {
  const auto id = read_number<uint16_t>(data);
  if (!id || *id >= NetFilter::kVlans || (command != kVlanAdd && command != kVlanDelete)) {
    return false;
  }
  const MutexLock lock(filter_mutex_);
  filter_.vlans.set(*id, command == kVlanAdd);
  return true;
}

bool VirtioNet::set_pairs(ByteStream& data) {
  const auto pairs = read_number<uint16_t>(data);
  if (!pairs || *pairs < 1 || *pairs > pairs_) {
    return false;
  }
  pairs_used_ = *pairs;
  use_end();
  chains_->hosting_changed();
  return true;
}

bool VirtioNet::set_guest_offloads(ByteStream& data) {
  constexpr uint64_t kKnown = feature_mask(net::kGuestChecksum) | feature_mask(net::kGuestTcp4) |
                              feature_mask(net::kGuestTcp6) | feature_mask(net::kGuestEcn);
  const auto offloads = read_number<uint64_t>(data);
  if (!offloads || (*offloads & ~(negotiated_ & kKnown)) != 0) {
    return false;
  }
  const auto wants = [&](uint8_t feature) { return (*offloads & feature_mask(feature)) != 0; };
  gives_ = {.checksum = wants(net::kGuestChecksum),
            .tcp4 = wants(net::kGuestTcp4),
            .tcp6 = wants(net::kGuestTcp6),
            .ecn = wants(net::kGuestEcn)};
  use_end();
  return true;
}

}  // namespace vmm::virtio
