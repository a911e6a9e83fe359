#include "vmm/net/tcp_frame.h"

#include "vmm/base/bytes.h"
#include "vmm/net/checksum.h"

namespace vmm::net {
namespace {

constexpr std::byte kProtocolTcp{6};
constexpr size_t kIp4ProtocolAt = 9;
constexpr size_t kIp4AddressesAt = 12;
constexpr size_t kIp6AddressesAt = 8;
constexpr uint16_t kFragmentMask = 0x3fff;  // more of them, and where this one begins

struct IpPart {
  bool is_v4 = false;
  size_t header_bytes = 0;
  size_t total_bytes = 0;  // as the header says
};

std::optional<IpPart> parse_ip4(std::span<const std::byte> ip) {
  if (ip.size() < kIp4HeaderBytes || (ip[0] >> 4U) != std::byte{4} || ip[kIp4ProtocolAt] != kProtocolTcp ||
      (load_be<uint16_t>(&ip[kIp4FragmentAt]) & kFragmentMask) != 0) {
    return std::nullopt;
  }
  const size_t header_bytes = 4 * std::to_integer<size_t>(ip[0] & std::byte{0xf});
  if (header_bytes < kIp4HeaderBytes) {
    return std::nullopt;
  }
  return IpPart{
      .is_v4 = true, .header_bytes = header_bytes, .total_bytes = load_be<uint16_t>(&ip[kIp4LengthAt])};
}

std::optional<IpPart> parse_ip6(std::span<const std::byte> ip) {
  if (ip.size() < kIp6HeaderBytes || (ip[0] >> 4U) != std::byte{6} || ip[kIp6NextHeaderAt] != kProtocolTcp) {
    return std::nullopt;
  }
  return IpPart{.is_v4 = false,
                .header_bytes = kIp6HeaderBytes,
                .total_bytes = kIp6HeaderBytes + load_be<uint16_t>(&ip[kIp6LengthAt])};
}

// RFC 9293, section 3.1: the addresses, the protocol and TCP's length.
uint16_t pseudo_header_sum(std::span<const std::byte> ip, bool is_v4, size_t tcp_bytes) {
  std::byte tail[4] = {std::byte{0}, kProtocolTcp};
  store_be<uint16_t>(&tail[2], static_cast<uint16_t>(tcp_bytes));
  const auto addresses = is_v4 ? ip.subspan(kIp4AddressesAt, 8) : ip.subspan(kIp6AddressesAt, 32);
  return sum_words(tail, sum_words(addresses));
}

}  // namespace

std::optional<TcpFrame> TcpFrame::parse(std::span<const std::byte> frame, Length length) {
  if (frame.size() < kEthernetHeaderBytes) {
    return std::nullopt;
  }
  const auto ip = frame.subspan(kIpAt);
  const uint16_t type = load_be<uint16_t>(&frame[kEtherTypeAt]);
  const auto part = type == kEtherTypeIp4   ? parse_ip4(ip)
                    : type == kEtherTypeIp6 ? parse_ip6(ip)
                                            : std::nullopt;
  if (!part) {
    return std::nullopt;
  }
  const size_t total_bytes = length == Length::kOfIp ? part->total_bytes : ip.size();
  if (total_bytes > ip.size() || total_bytes < part->header_bytes + kTcpHeaderBytes) {
    return std::nullopt;
  }
  const size_t tcp_at = kIpAt + part->header_bytes;
  const size_t tcp_header_bytes = 4 * std::to_integer<size_t>(frame[tcp_at + 12] >> 4U);
  if (tcp_header_bytes < kTcpHeaderBytes || part->header_bytes + tcp_header_bytes > total_bytes) {
    return std::nullopt;
  }
  return TcpFrame{.is_v4 = part->is_v4,
                  .tcp_at = tcp_at,
                  .payload_at = tcp_at + tcp_header_bytes,
                  .end = kIpAt + total_bytes};
}

void set_lengths(std::span<std::byte> frame, const TcpFrame& at) {
  const auto ip = frame.subspan(TcpFrame::kIpAt);
  const size_t tcp_bytes = frame.size() - at.tcp_at;
  if (at.is_v4) {
    store_be<uint16_t>(&ip[kIp4LengthAt], static_cast<uint16_t>(ip.size()));
    store_sum(&ip[kIp4ChecksumAt], 0);
    const auto header = ip.first(at.tcp_at - TcpFrame::kIpAt);
    store_sum(&ip[kIp4ChecksumAt], static_cast<uint16_t>(~sum_words(header)));
  } else {
    store_be<uint16_t>(&ip[kIp6LengthAt], static_cast<uint16_t>(tcp_bytes));
  }
  store_sum(&frame[at.tcp_at + kTcpChecksumAt], pseudo_header_sum(ip, at.is_v4, tcp_bytes));
}

}  // namespace vmm::net
