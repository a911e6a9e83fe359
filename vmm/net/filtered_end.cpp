#include "vmm/net/filtered_end.h"

#include <algorithm>
#include <utility>

#include "vmm/net/packet_queue.h"

namespace vmm::net {
namespace {

// Then others have their turn; packets_wait() comes again.
constexpr int kMostFilteredAtOnce = 64;

// Appends what lies behind the first `skip` bytes.
void append_rest(std::span<const iovec> frame, size_t skip, std::vector<iovec>& to) {
  for (const iovec& piece : frame) {
    const size_t skipped = std::min(skip, piece.iov_len);
    skip -= skipped;
    if (skipped < piece.iov_len) {
      to.push_back({.iov_base = static_cast<std::byte*>(piece.iov_base) + skipped,
                    .iov_len = piece.iov_len - skipped});
    }
  }
}

size_t bytes_in(std::span<const iovec> room) {
  size_t bytes = 0;
  for (const iovec& piece : room) {
    bytes += piece.iov_len;
  }
  return bytes;
}

}  // namespace

FilteredEnd::FilteredEnd(std::unique_ptr<NetEnd> end, SpoofRules rules, std::string name)
    : WrappedEnd(std::move(end)),
      rules_(std::move(rules)),
      name_(std::move(name)),
      packet_(rules_.only_ip4_and_arp ? kMaxPacketBytes : 0) {}

NetEnd::Sent FilteredEnd::send(uint16_t pair, const PacketHeader& header, std::span<const iovec> frame,
                               size_t frame_bytes) {
  const auto front = std::span(front_).first(std::min(frame_bytes, front_.size()));
  gather(frame, front);
  if (!rules_.may_send(header, front)) {
    if (limit_.allows()) {
      log::warning("network interface {}: its filter drops a packet of the guest's", name_);
    }
    return Sent::kDropped;
  }
  vectors_.assign(1, {.iov_base = front.data(), .iov_len = front.size()});
  append_rest(frame, front.size(), vectors_);
  return WrappedEnd::send(pair, header, vectors_, frame_bytes);
}

size_t FilteredEnd::receive(uint16_t pair, std::span<const iovec> room) {
  if (!rules_.only_ip4_and_arp) {
    return WrappedEnd::receive(pair, room);
  }
  const size_t room_bytes = bytes_in(room);
  const iovec aside{.iov_base = packet_.data(), .iov_len = packet_.size()};
  for (int packets = 0; packets < kMostFilteredAtOnce; ++packets) {
    const size_t bytes = WrappedEnd::receive(pair, {&aside, 1});
    if (bytes == 0) {
      return 0;
    }
    const auto packet = std::span(packet_).first(bytes);
    const bool is_frame = bytes >= kPacketHeaderBytes + kEthernetHeaderBytes;
    if (!is_frame || !rules_.may_receive(packet.subspan(kPacketHeaderBytes))) {
      received_filtered_.fetch_add(1, std::memory_order_relaxed);
    } else if (bytes <= room_bytes) {
      scatter(packet, room, 0);
      return bytes;
    }
  }
  return 0;
}

}  // namespace vmm::net
