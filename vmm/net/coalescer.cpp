#include "vmm/net/coalescer.h"

#include <algorithm>
#include <cstring>

#include "vmm/base/bytes.h"

namespace vmm::net {
namespace {

uint8_t tcp_flags(std::span<const std::byte> frame, const TcpFrame& at) {
  return std::to_integer<uint8_t>(frame[at.tcp_at + kTcpFlagsAt]);
}

uint32_t sequence_of(std::span<const std::byte> frame, const TcpFrame& at) {
  return load_be<uint32_t>(&frame[at.tcp_at + kTcpSequenceAt]);
}

uint16_t id_of(std::span<const std::byte> frame) {
  return load_be<uint16_t>(&frame[TcpFrame::kIpAt + kIp4IdAt]);
}

// From `from` up to `to`.
bool same(std::span<const std::byte> a, std::span<const std::byte> b, size_t from, size_t to) {
  return std::memcmp(&a[from], &b[from], to - from) == 0;
}

// All that is the same in segments of one packet; what a cut makes anew is not looked at, and PSH is free.
bool has_same_headers(std::span<const std::byte> a, std::span<const std::byte> b, const TcpFrame& at) {
  constexpr size_t kIp = TcpFrame::kIpAt;
  const size_t tcp = at.tcp_at;
  const bool has_same_ip = at.is_v4
                               ? same(a, b, 0, kIp + kIp4LengthAt) &&
                                     same(a, b, kIp + kIp4FragmentAt, kIp + kIp4ChecksumAt) &&
                                     same(a, b, kIp + kIp4ChecksumAt + 2, tcp)
                               : same(a, b, 0, kIp + kIp6LengthAt) && same(a, b, kIp + kIp6NextHeaderAt, tcp);
  return has_same_ip && same(a, b, tcp, tcp + kTcpSequenceAt) &&
         same(a, b, tcp + kTcpSequenceAt + 4, tcp + kTcpFlagsAt) &&
         same(a, b, tcp + kTcpWindowAt, tcp + kTcpChecksumAt) &&
         same(a, b, tcp + kTcpUrgentAt, at.payload_at);
}

}  // namespace

void Coalescer::set_use(const PacketOffloads& gives) {
  complete();
  gives_ = gives;
}

bool Coalescer::add(std::span<const std::byte> frame) {
  const auto at = TcpFrame::parse(frame);
  if (at && is_growing_ && fits(frame, *at) && grow(frame, *at)) {
    return true;
  }
  complete();
  PacketHeader header;
  if (at && gives_.checksum) {
    header.flags = PacketHeader::kChecksumIsValid;
  }
  if (!queue_.push(header, frame)) {
    return false;
  }
  if (at && may_grow(frame, *at)) {
    begin(frame, *at);
  }
  return true;
}

// Whether others may follow in the same packet: not behind PSH, where there is no more for now.
bool Coalescer::may_grow(std::span<const std::byte> frame, const TcpFrame& at) const {
  return gives_.checksum && (at.is_v4 ? gives_.tcp4 : gives_.tcp6) && tcp_flags(frame, at) == kTcpAck &&
         at.payload_bytes() > 0 && at.end == frame.size();
}

void Coalescer::begin(std::span<const std::byte> frame, const TcpFrame& at) {
  is_growing_ = true;
  growing_ = {.at = at,
              .segment_bytes = at.payload_bytes(),
              .next_sequence = sequence_of(frame, at) + static_cast<uint32_t>(at.payload_bytes()),
              .next_id = static_cast<uint16_t>(at.is_v4 ? id_of(frame) + 1 : 0)};
}

bool Coalescer::fits(std::span<const std::byte> frame, const TcpFrame& at) {
  const TcpFrame& first = growing_.at;
  const auto last = queue_.last_frame();
  const uint8_t flags = tcp_flags(frame, at);
  return at.is_v4 == first.is_v4 && at.tcp_at == first.tcp_at && at.payload_at == first.payload_at &&
         at.end == frame.size() && at.payload_bytes() > 0 && at.payload_bytes() <= growing_.segment_bytes &&
         (flags == kTcpAck || flags == (kTcpAck | kTcpPush)) &&
         sequence_of(frame, at) == growing_.next_sequence &&
         (!at.is_v4 || id_of(frame) == growing_.next_id) &&
         last.size() - TcpFrame::kIpAt + at.payload_bytes() <= kMaxIpBytes &&
         has_same_headers(last, frame, first);
}

bool Coalescer::grow(std::span<const std::byte> frame, const TcpFrame& at) {
  if (!queue_.extend_last(frame.subspan(at.payload_at))) {
    return false;
  }
  const uint8_t flags = tcp_flags(frame, at);
  queue_.last_frame()[at.tcp_at + kTcpFlagsAt] = std::byte{flags};
  growing_.next_sequence += static_cast<uint32_t>(at.payload_bytes());
  ++growing_.next_id;
  if (at.payload_bytes() < growing_.segment_bytes || flags != kTcpAck) {
    complete();
  }
  return true;
}

void Coalescer::complete() {
  if (!is_growing_) {
    return;
  }
  is_growing_ = false;
  const auto frame = queue_.last_frame();
  const TcpFrame& at = growing_.at;
  if (frame.size() - at.payload_at == growing_.segment_bytes) {
    return;  // one segment, with its own headers
  }
  set_lengths(frame, at);
  queue_.last_header() = {.flags = PacketHeader::kNeedsChecksum,
                          .segments = at.is_v4 ? PacketHeader::kTcp4 : PacketHeader::kTcp6,
                          .header_bytes = static_cast<uint16_t>(at.payload_at),
                          .segment_bytes = static_cast<uint16_t>(growing_.segment_bytes),
                          .checksum_start = static_cast<uint16_t>(at.tcp_at),
                          .checksum_offset = kTcpChecksumAt};
}

}  // namespace vmm::net
