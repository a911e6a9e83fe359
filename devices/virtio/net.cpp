#include "devices/virtio/net.h"

#include <algorithm>
#include <utility>

#include "devices/virtio/net_features.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::virtio {
namespace {

// The device's configuration (section 5.1.4).
constexpr size_t kConfigStatus = 6;
constexpr size_t kConfigPairs = 8;
constexpr size_t kConfigMtu = 10;
constexpr size_t kNetConfigBytes = 12;
constexpr uint16_t kStatusLinkUp = 1;

PacketOffloads both(const PacketOffloads& one, const PacketOffloads& other) {
  const bool checksum = one.checksum && other.checksum;
  const bool tcp4 = checksum && one.tcp4 && other.tcp4;
  const bool tcp6 = checksum && one.tcp6 && other.tcp6;
  return {.checksum = checksum, .tcp4 = tcp4, .tcp6 = tcp6, .ecn = (tcp4 || tcp6) && one.ecn && other.ecn};
}

uint64_t mask_if(bool condition, uint8_t feature) { return condition ? feature_mask(feature) : 0; }

}  // namespace

uint64_t VirtioNet::offered_features(const NetEnd& end, const Options& options) {
  const PacketOffloads host = both(end.takes(), options.host);
  const PacketOffloads guest = both(end.can_give(), options.guest);
  return feature_mask(net::kMac) | feature_mask(net::kStatus) | feature_mask(net::kControlQueue) |
         feature_mask(net::kControlReceive) | feature_mask(net::kControlReceiveExtra) |
         feature_mask(net::kControlVlan) | feature_mask(net::kControlMac) |
         mask_if(options.offers_mergeable_buffers, net::kMergeableBuffers) |
         mask_if(options.mtu != 0, net::kMtu) | mask_if(end.pairs() > 1, net::kMultiqueue) |
         mask_if(host.checksum, net::kHostChecksum) | mask_if(host.tcp4, net::kHostTcp4) |
         mask_if(host.tcp6, net::kHostTcp6) | mask_if(host.ecn, net::kHostEcn) |
         mask_if(guest.checksum, net::kGuestChecksum) | mask_if(guest.tcp4, net::kGuestTcp4) |
         mask_if(guest.tcp6, net::kGuestTcp6) | mask_if(guest.ecn, net::kGuestEcn) |
         mask_if(guest.checksum, net::kControlGuestOffloads);
}

VirtioNet::VirtioNet(NetEnd& end, Options options)
    : end_(end),
      options_(std::move(options)),
      pairs_(end.pairs()),
      features_(offered_features(end, options_)),
      is_link_up_(options_.is_link_up),
      filter_(options_.mac),
      state_(pairs_) {
  VMM_CHECK(pairs_ >= 1 && pairs_ <= kMaxPairs, "a network's end has an impossible number of queues");
  end_.connect(*this);
}

void VirtioNet::read_config(uint32_t offset, std::span<std::byte> data) const {
  std::array<std::byte, kNetConfigBytes> config{};
  std::ranges::transform(options_.mac, config.begin(), [](uint8_t byte) { return std::byte{byte}; });
  store_le<uint16_t>(&config[kConfigStatus], is_link_up_ ? kStatusLinkUp : 0);
  store_le<uint16_t>(&config[kConfigPairs], pairs_);
  store_le<uint16_t>(&config[kConfigMtu], options_.mtu);
  for (size_t i = 0; i < data.size(); ++i) {
    data[i] = offset + i < config.size() ? config[offset + i] : std::byte{0};
  }
}

void VirtioNet::reset_config() {}

NetFilter VirtioNet::filter() const {
  const MutexLock lock(filter_mutex_);
  return filter_;
}

void VirtioNet::start(ChainReturn& chains, uint64_t features, std::span<const uint16_t> queue_sizes) {
  chains_ = &chains;
  negotiated_ = features;
  queue_sizes_.assign(queue_sizes.begin(), queue_sizes.end());
  pairs_used_ = 1;
  gives_ = {.checksum = has(net::kGuestChecksum),
            .tcp4 = has(net::kGuestTcp4),
            .tcp6 = has(net::kGuestTcp6),
            .ecn = has(net::kGuestEcn)};
  {
    const MutexLock lock(filter_mutex_);
    filter_ = NetFilter(options_.mac);
    filter_.filters_vlans = has(net::kControlVlan);
  }
  use_end();
}

// What the driver has negotiated may not hang together (section 5.1.3.1).
void VirtioNet::use_end() { end_.set_use(pairs_used_, both(gives_, end_.can_give())); }

void VirtioNet::abandon() {
  end_.set_use(0, {});
  for (uint16_t pair = 0; pair < pairs_; ++pair) {
    Pair& state = state_[pair];
    for (const Held& held : std::exchange(state.held, {})) {
      chains_->give_back(receive_queue(pair), held.chain->head, 0);
    }
    state.room = 0;
    if (std::exchange(state.waiting_bytes, 0) != 0) {
      counters_.count_received_dropped();
    }
    if (state.sending != nullptr) {
      counters_.count_sent_dropped();
      chains_->give_back(send_queue(pair), std::exchange(state.sending, nullptr)->head, 0);
    }
    update_wish(pair);
  }
}

void VirtioNet::let_go() {
  for (uint16_t pair = 0; pair < pairs_; ++pair) {
    Pair& state = state_[pair];
    for (; !state.held.empty(); state.held.pop_back()) {
      chains_->put_back(receive_queue(pair), state.held.back().chain->head);
    }
    state.room = 0;
    // Not after those that come to the driver by somebody else.
    if (options_.host_of_rings != nullptr && std::exchange(state.waiting_bytes, 0) != 0) {
      counters_.count_received_dropped();
    }
    if (state.sending != nullptr) {
      chains_->put_back(send_queue(pair), std::exchange(state.sending, nullptr)->head);
    }
    update_wish(pair);
  }
}

bool VirtioNet::is_to_be_hosted(uint16_t queue) const {
  const Place place = place_of(queue);
  const bool is_of_pair = place.kind == Place::Kind::kReceive || place.kind == Place::Kind::kSend;
  return options_.host_of_rings != nullptr && is_of_pair && place.pair < pairs_used_ && is_link_up_;
}

// Section 5.1.2: the control queue comes behind the pairs that the driver knows of.
VirtioNet::Place VirtioNet::place_of(uint16_t queue) const {
  const uint16_t pairs = has(net::kMultiqueue) ? pairs_ : uint16_t{1};
  if (queue == 2 * pairs) {
    return {.kind = has(net::kControlQueue) ? Place::Kind::kControl : Place::Kind::kNone};
  }
  if (queue > 2 * pairs) {
    return {};
  }
  return {.kind = queue % 2 == 0 ? Place::Kind::kReceive : Place::Kind::kSend,
          .pair = static_cast<uint16_t>(queue / 2)};
}

bool VirtioNet::can_accept(uint16_t queue) const {
  const Place place = place_of(queue);
  switch (place.kind) {
    case Place::Kind::kReceive:
      return state_[place.pair].room < kRoomWanted && state_[place.pair].held.size() < kMostHeld;
    case Place::Kind::kSend:
      return state_[place.pair].sending == nullptr;
    case Place::Kind::kControl:
    case Place::Kind::kNone:
      return true;
  }
  return true;
}

VirtioDevice::Handled VirtioNet::handle(uint16_t queue, Chain& chain) {
  const Place place = place_of(queue);
  switch (place.kind) {
    case Place::Kind::kReceive:
      return hold(place.pair, chain);
    case Place::Kind::kSend:
      return take_packet(place.pair, chain);
    case Place::Kind::kControl:
      return control(queue, chain);
    case Place::Kind::kNone:
      break;
  }
  chains_->give_back(queue, chain.head, 0);
  return Handled::kTaken;
}

// --- Sending ---

VirtioDevice::Handled VirtioNet::take_packet(uint16_t pair, Chain& chain) {
  PacketHeaderBytes bytes{};
  const bool is_packet = !chain.has_bad_buffer && chain.readable.read(bytes) &&
                         chain.readable.size() >= kEthernetHeaderBytes &&
                         chain.readable.size() <= kMaxFrameBytes;
  const auto header =
      is_packet ? checked(PacketHeader::parse(bytes), chain.readable.size()) : std::optional<PacketHeader>();
  if (!header) {
    counters_.count_sent_error();
    chains_->give_back(send_queue(pair), chain.head, 0);
    return Handled::kTaken;
  }
  state_[pair].sending = &chain;
  state_[pair].sending_header = *header;
  send(pair);
  return Handled::kTaken;
}

// As it goes to the host: only what was negotiated, and what lies in the frame (section 5.1.6.2).
std::optional<PacketHeader> VirtioNet::checked(const PacketHeader& header, size_t frame_bytes) const {
  PacketHeader to{};
  if ((header.flags & PacketHeader::kNeedsChecksum) != 0) {
    const size_t end = size_t{header.checksum_start} + header.checksum_offset + sizeof(uint16_t);
    if (!has(net::kHostChecksum) || header.checksum_start < kEthernetHeaderBytes || end > frame_bytes) {
      return std::nullopt;
    }
    to.flags = PacketHeader::kNeedsChecksum;
    to.checksum_start = header.checksum_start;
    to.checksum_offset = header.checksum_offset;
  }
  if (header.segments == PacketHeader::kNone) {
    return to;
  }
  const auto kind = static_cast<uint8_t>(header.segments & ~PacketHeader::kHasEcn);
  const bool has_ecn = (header.segments & PacketHeader::kHasEcn) != 0;
  const bool is_known = (kind == PacketHeader::kTcp4 && has(net::kHostTcp4)) ||
                        (kind == PacketHeader::kTcp6 && has(net::kHostTcp6));
  if (!is_known || (has_ecn && !has(net::kHostEcn)) || header.segment_bytes == 0 || to.flags == 0) {
    return std::nullopt;
  }
  to.segments = header.segments;
  to.segment_bytes = header.segment_bytes;
  to.header_bytes = static_cast<uint16_t>(std::min<size_t>(header.header_bytes, frame_bytes));
  return to;
}

// Stays where it is if there is no room for it at the host's end.
void VirtioNet::send(uint16_t pair) {
  Pair& state = state_[pair];
  const Chain& chain = *state.sending;
  const size_t frame_bytes = chain.readable.size();
  const NetEnd::Sent sent = is_link_up_
                                ? end_.send(pair, state.sending_header, chain.readable.buffers(), frame_bytes)
                                : NetEnd::Sent::kDropped;
  switch (sent) {
    case NetEnd::Sent::kFull:
      return;
    case NetEnd::Sent::kDone:
      counters_.count_sent(frame_bytes);
      break;
    case NetEnd::Sent::kDropped:
      counters_.count_sent_dropped();
      break;
  }
  chains_->give_back(send_queue(pair), std::exchange(state.sending, nullptr)->head, 0);
}

void VirtioNet::has_room(uint16_t pair) {
  if (state_[pair].sending != nullptr) {
    send(pair);
  }
}

}  // namespace vmm::virtio
