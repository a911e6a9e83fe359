// VirtioNet's way in: packets from the host's end, in the driver's buffers.
#include <algorithm>
#include <utility>

#include "devices/virtio/net.h"
#include "devices/virtio/net_features.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::virtio {
namespace {

// At one turn: others have theirs between.
constexpr int kPacketsOfTurn = 64;
// Fewer than a system call takes.
constexpr size_t kMostVectors = 1000;
constexpr size_t kDefaultMtu = 1500;
// The header's count of buffers (section 5.1.6).
constexpr size_t kBuffersField = 10;
// Of a packet, what does not go straight to the driver: it is looked at.
constexpr size_t kFrontBytes = kPacketHeaderBytes + NetFilter::kPeekBytes;

// What is behind the first `skip` bytes, which become fewer by those that were there.
void append_behind(std::vector<iovec>& to, std::span<const iovec> buffers, size_t& skip) {
  for (const iovec& buffer : buffers) {
    const size_t skipped = std::min(skip, buffer.iov_len);
    skip -= skipped;
    if (skipped < buffer.iov_len) {
      to.push_back({.iov_base = static_cast<std::byte*>(buffer.iov_base) + skipped,
                    .iov_len = buffer.iov_len - skipped});
    }
  }
}

}  // namespace

VirtioDevice::Handled VirtioNet::hold(uint16_t pair, Chain& chain) {
  const uint64_t bytes = chain.writable.size();
  if (chain.has_bad_buffer || bytes < kPacketHeaderBytes) {
    chains_->give_back(receive_queue(pair), chain.head, 0);
    return Handled::kTaken;
  }
  Pair& state = state_[pair];
  state.held.push_back({.chain = &chain, .bytes = bytes});
  state.room += bytes;
  update_wish(pair);
  return Handled::kTaken;
}

void VirtioNet::update_wish(uint16_t pair) {
  Pair& state = state_[pair];
  const bool is_wanted = !state.held.empty() && (state.waiting_bytes == 0 ||
                                                 fits(state, state.waiting_bytes) || has_all_buffers(pair));
  if (is_wanted != std::exchange(state.is_wanted, is_wanted)) {
    end_.want_packets(pair, is_wanted);
  }
}

// The longest that the end may give as long as the driver has no wish for segments put together.
size_t VirtioNet::most_packet_bytes() const {
  if (gives_.tcp4 || gives_.tcp6) {
    return kMaxPacketBytes;
  }
  return kPacketHeaderBytes + kEthernetHeaderBytes + kVlanTagBytes +
         std::max<size_t>(options_.mtu, kDefaultMtu);
}

bool VirtioNet::fits(const Pair& pair, size_t bytes) const {
  if (pair.held.empty()) {
    return false;
  }
  return has(net::kMergeableBuffers) ? pair.room >= bytes : pair.held.front().bytes >= bytes;
}

// More room than this there is not, whatever the driver does.
bool VirtioNet::has_all_buffers(uint16_t pair) const {
  const Pair& state = state_[pair];
  return !has(net::kMergeableBuffers) || state.held.size() >= kMostHeld || state.room >= kRoomWanted ||
         state.held.size() >= queue_sizes_[receive_queue(pair)];
}

void VirtioNet::packets_wait(uint16_t pair) {
  for (int packets = 0; packets < kPacketsOfTurn && state_[pair].is_wanted; ++packets) {
    if (!receive_one(pair)) {
      return;
    }
    update_wish(pair);
  }
}

// False: no packet waits.
bool VirtioNet::receive_one(uint16_t pair) {
  Pair& state = state_[pair];
  if (state.waiting_bytes != 0) {
    return give_waiting(pair);
  }
  return is_link_up_ && fits(state, most_packet_bytes()) ? receive_into_buffers(pair) : receive_aside(pair);
}

bool VirtioNet::receive_into_buffers(uint16_t pair) {
  Pair& state = state_[pair];
  std::array<std::byte, kFrontBytes> front{};
  vectors_.assign(1, {.iov_base = front.data(), .iov_len = front.size()});
  size_t skip = front.size();
  size_t room = 0;
  for (const Held& held : state.held) {
    append_behind(vectors_, held.chain->writable.buffers(), skip);
    room += held.bytes;
    if (!has(net::kMergeableBuffers) || room >= most_packet_bytes()) {
      break;
    }
  }
  if (vectors_.size() > kMostVectors) {
    return receive_aside(pair);
  }
  const size_t bytes = end_.receive(pair, vectors_);
  if (bytes == 0) {
    return false;
  }
  VMM_CHECK(bytes <= std::max(room, front.size()), "a packet is longer than the room for it");
  const auto known = std::span(front).first(std::min(bytes, front.size()));
  if (bytes < kPacketHeaderBytes) {
    counters_.count_received_dropped();
  } else if (!is_wanted(known.subspan(kPacketHeaderBytes))) {
    counters_.count_received_filtered();
  } else {
    give(pair, bytes, known);
  }
  return true;
}

bool VirtioNet::receive_aside(uint16_t pair) {
  Pair& state = state_[pair];
  if (state.waiting_packet == nullptr) {
    state.waiting_packet = std::make_unique<std::array<std::byte, kMaxPacketBytes>>();
  }
  const iovec room{.iov_base = state.waiting_packet->data(), .iov_len = state.waiting_packet->size()};
  const size_t bytes = end_.receive(pair, std::span(&room, 1));
  if (bytes == 0) {
    return false;
  }
  const auto frame =
      std::span(*state.waiting_packet).first(bytes).subspan(std::min(bytes, kPacketHeaderBytes));
  if (!is_link_up_) {
    counters_.count_received_dropped();
  } else if (!is_wanted(frame)) {
    counters_.count_received_filtered();
  } else {
    state.waiting_bytes = bytes;
  }
  return true;
}

bool VirtioNet::give_waiting(uint16_t pair) {
  Pair& state = state_[pair];
  const size_t bytes = std::exchange(state.waiting_bytes, 0);
  if (fits(state, bytes)) {
    give(pair, bytes, std::span(*state.waiting_packet).first(bytes));
  } else if (has_all_buffers(pair)) {
    counters_.count_received_dropped();
  } else {
    state.waiting_bytes = bytes;
    return false;
  }
  return true;
}

bool VirtioNet::is_wanted(std::span<const std::byte> peek) const {
  return filter_.is_wanted(peek.first(std::min(peek.size(), NetFilter::kPeekBytes)));
}

// What is behind `front` lies in the buffers already. REQUIRES: they have room for all.
void VirtioNet::give(uint16_t pair, size_t packet_bytes, std::span<const std::byte> front) {
  Pair& state = state_[pair];
  uint16_t buffers = 0;
  for (uint64_t room = 0; room < packet_bytes; ++buffers) {
    room += state.held[buffers].bytes;
  }
  std::array<std::byte, kPacketHeaderBytes> header{};
  std::ranges::copy(front.first(header.size()), header.begin());
  store_le<uint16_t>(&header[kBuffersField], buffers);
  std::span<const std::byte> head(header);
  std::span<const std::byte> behind = front.subspan(header.size());
  size_t left = packet_bytes;
  for (; buffers > 0; --buffers) {
    const Held held = state.held.front();
    state.held.pop_front();
    state.room -= held.bytes;
    for (std::span<const std::byte>* part : {&head, &behind}) {
      const size_t count = std::min<size_t>(part->size(), held.chain->writable.size());
      VMM_CHECK(held.chain->writable.write(part->first(count)), "less room than the chain said");
      *part = part->subspan(count);
    }
    const size_t written = std::min<size_t>(left, held.bytes);
    left -= written;
    chains_->give_back(receive_queue(pair), held.chain->head, static_cast<uint32_t>(written));
  }
  counters_.count_received(packet_bytes - kPacketHeaderBytes);
}

}  // namespace vmm::virtio
