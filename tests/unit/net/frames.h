// Frames as a guest makes and reads them, by hand: what the tests of networks are written with.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/bytes.h"
#include "vmm/base/ip_address.h"
#include "vmm/net/tcp_frame.h"

namespace vmm::net {

using Bytes = std::vector<std::byte>;

inline Bytes& operator+=(Bytes& to, std::span<const std::byte> more) {
  to.insert(to.end(), more.begin(), more.end());
  return to;
}
template <std::unsigned_integral T>
void append_be(Bytes& to, T value) {
  std::array<std::byte, sizeof(T)> bytes{};
  store_be<T>(bytes.data(), value);
  to += bytes;
}
inline Bytes bytes_of(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) {
    bytes.push_back(static_cast<std::byte>(value));
  }
  return bytes;
}
// Bytes that tell where they stand.
inline Bytes pattern(size_t length, size_t from = 0) {
  Bytes bytes(length);
  for (size_t i = 0; i < length; ++i) {
    bytes[i] = static_cast<std::byte>(((from + i) * 2654435761U) >> 13U);
  }
  return bytes;
}

// Of RFC 1071, word by word: what the fast one is compared with.
inline uint16_t slow_sum(std::span<const std::byte> bytes, uint32_t sum = 0) {
  for (size_t i = 0; i < bytes.size(); i += 2) {
    const auto low = i + 1 < bytes.size() ? std::to_integer<uint32_t>(bytes[i + 1]) : 0;
    sum += (std::to_integer<uint32_t>(bytes[i]) << 8U) + low;
    sum = (sum & 0xffff) + (sum >> 16U);
  }
  while (sum > 0xffff) {
    sum = (sum & 0xffff) + (sum >> 16U);
  }
  return static_cast<uint16_t>(sum);
}

using Mac = std::array<std::byte, 6>;
inline constexpr Mac kGuestMac = {std::byte{0x52}, std::byte{0x54}, std::byte{0x00},
                                  std::byte{0x12}, std::byte{0x34}, std::byte{0x56}};
inline constexpr Mac kBroadcast = {std::byte{0xff}, std::byte{0xff}, std::byte{0xff},
                                   std::byte{0xff}, std::byte{0xff}, std::byte{0xff}};

inline std::span<const std::byte> raw(const IpAddress& address) {
  return std::span(address.bytes()).first(address.bit_count() / 8);
}

inline Bytes ethernet(const Mac& to, uint16_t type, std::span<const std::byte> payload) {
  Bytes frame;
  frame += to;
  frame += kGuestMac;
  append_be<uint16_t>(frame, type);
  frame += payload;
  return frame;
}

inline constexpr uint8_t kIpIcmp = 1;
inline constexpr uint8_t kIpTcp = 6;
inline constexpr uint8_t kIpUdp = 17;
inline constexpr uint8_t kIpIcmp6 = 58;

struct IpEnds {
  IpAddress from;
  IpAddress to;
};

// From the host to the guest.
inline const IpEnds kEnds4{IpAddress::v4(10, 0, 2, 2), IpAddress::v4(10, 0, 2, 15)};
inline const IpEnds kEnds6{IpAddress::parse("fec0::2").value(), IpAddress::parse("fec0::15").value()};

// The sum of the pseudo header, in the order of numbers.
inline uint32_t pseudo_sum(const IpEnds& ends, uint8_t protocol, size_t bytes) {
  return uint32_t{slow_sum(raw(ends.from))} + slow_sum(raw(ends.to)) + protocol +
         static_cast<uint32_t>(bytes);
}

inline Bytes ip_packet(const IpEnds& ends, uint8_t protocol, std::span<const std::byte> payload,
                       uint16_t id = 0) {
  Bytes packet;
  if (ends.from.is_v4()) {
    packet = bytes_of({0x45, 0});
    append_be<uint16_t>(packet, static_cast<uint16_t>(kIp4HeaderBytes + payload.size()));
    append_be<uint16_t>(packet, id);
    packet += bytes_of({0, 0, 64, protocol, 0, 0});
    packet += raw(ends.from);
    packet += raw(ends.to);
    store_be<uint16_t>(&packet[kIp4ChecksumAt], static_cast<uint16_t>(~slow_sum(packet)));
  } else {
    packet = bytes_of({0x60, 0, 0, 0});
    append_be<uint16_t>(packet, static_cast<uint16_t>(payload.size()));
    packet += bytes_of({protocol, 255});
    packet += raw(ends.from);
    packet += raw(ends.to);
  }
  packet += payload;
  return packet;
}

inline Bytes ip_frame(const IpEnds& ends, uint8_t protocol, std::span<const std::byte> payload,
                      uint16_t id = 0, const Mac& to = kBroadcast) {
  return ethernet(to, ends.from.is_v4() ? kEtherTypeIp4 : kEtherTypeIp6,
                  ip_packet(ends, protocol, payload, id));
}

inline Bytes with_checksum(const IpEnds& ends, uint8_t protocol, Bytes packet, size_t checksum_at) {
  store_be<uint16_t>(&packet[checksum_at],
                     static_cast<uint16_t>(~slow_sum(packet, pseudo_sum(ends, protocol, packet.size()))));
  return packet;
}

inline Bytes udp_frame(const IpEnds& ends, uint16_t from_port, uint16_t to_port,
                       std::span<const std::byte> payload) {
  Bytes udp;
  append_be<uint16_t>(udp, from_port);
  append_be<uint16_t>(udp, to_port);
  append_be<uint16_t>(udp, static_cast<uint16_t>(8 + payload.size()));
  append_be<uint16_t>(udp, 0);
  udp += payload;
  return ip_frame(ends, kIpUdp, with_checksum(ends, kIpUdp, std::move(udp), 6));
}

struct TcpSegment {
  uint16_t from_port = 0;
  uint16_t to_port = 0;
  uint32_t sequence = 0;
  uint32_t ack = 0;
  uint8_t flags = kTcpAck;
  uint16_t window = 65535;
  Bytes options;  // a multiple of 4 bytes
  Bytes payload;
  uint16_t id = 0;  // of IPv4
};

inline Bytes tcp_frame(const IpEnds& ends, const TcpSegment& segment) {
  Bytes tcp;
  append_be<uint16_t>(tcp, segment.from_port);
  append_be<uint16_t>(tcp, segment.to_port);
  append_be<uint32_t>(tcp, segment.sequence);
  append_be<uint32_t>(tcp, segment.ack);
  tcp.push_back(static_cast<std::byte>((kTcpHeaderBytes + segment.options.size()) / 4 << 4U));
  tcp.push_back(std::byte{segment.flags});
  append_be<uint16_t>(tcp, segment.window);
  append_be<uint32_t>(tcp, 0);
  tcp += segment.options;
  tcp += segment.payload;
  return ip_frame(ends, kIpTcp, with_checksum(ends, kIpTcp, std::move(tcp), kTcpChecksumAt), segment.id);
}

struct ParsedIp {
  IpEnds ends;
  uint8_t protocol = 0;
  std::span<const std::byte> payload;
};

inline uint16_t type_of(std::span<const std::byte> frame) { return load_be<uint16_t>(&frame[kEtherTypeAt]); }

// With its checksums checked.
inline std::optional<ParsedIp> parse_ip(std::span<const std::byte> frame) {
  const auto ip = frame.subspan(kEthernetHeaderBytes);
  const auto address4 = [&](size_t at) {
    return IpAddress::v4(static_cast<uint8_t>(ip[at]), static_cast<uint8_t>(ip[at + 1]),
                         static_cast<uint8_t>(ip[at + 2]), static_cast<uint8_t>(ip[at + 3]));
  };
  const auto address6 = [&](size_t at) {
    std::array<std::byte, 16> bytes{};
    std::copy_n(ip.begin() + static_cast<ptrdiff_t>(at), 16, bytes.begin());
    return IpAddress::v6(bytes);
  };
  if (type_of(frame) == kEtherTypeIp4) {
    EXPECT_EQ(slow_sum(ip.first(kIp4HeaderBytes)), 0xffff);
    return ParsedIp{
        .ends = {address4(12), address4(16)},
        .protocol = static_cast<uint8_t>(ip[9]),
        .payload = ip.subspan(kIp4HeaderBytes, load_be<uint16_t>(&ip[kIp4LengthAt]) - kIp4HeaderBytes)};
  }
  if (type_of(frame) == kEtherTypeIp6) {
    return ParsedIp{.ends = {address6(8), address6(24)},
                    .protocol = static_cast<uint8_t>(ip[6]),
                    .payload = ip.subspan(kIp6HeaderBytes, load_be<uint16_t>(&ip[kIp6LengthAt]))};
  }
  return std::nullopt;
}

struct ParsedTcp {
  IpEnds ends;
  TcpSegment segment;
};

inline std::optional<ParsedTcp> parse_tcp(std::span<const std::byte> frame) {
  const auto ip = parse_ip(frame);
  if (!ip || ip->protocol != kIpTcp) {
    return std::nullopt;
  }
  const auto tcp = ip->payload;
  const size_t header_bytes = 4 * std::to_integer<size_t>(tcp[12] >> 4U);
  const auto options = tcp.subspan(kTcpHeaderBytes, header_bytes - kTcpHeaderBytes);
  const auto payload = tcp.subspan(header_bytes);
  return ParsedTcp{.ends = ip->ends,
                   .segment = {.from_port = load_be<uint16_t>(&tcp[0]),
                               .to_port = load_be<uint16_t>(&tcp[2]),
                               .sequence = load_be<uint32_t>(&tcp[4]),
                               .ack = load_be<uint32_t>(&tcp[8]),
                               .flags = static_cast<uint8_t>(tcp[13]),
                               .window = load_be<uint16_t>(&tcp[14]),
                               .options = Bytes(options.begin(), options.end()),
                               .payload = Bytes(payload.begin(), payload.end())}};
}

// Whether the checksum behind the IP header is right.
inline bool has_right_checksum(std::span<const std::byte> frame) {
  const auto ip = parse_ip(frame);
  return ip && slow_sum(ip->payload, pseudo_sum(ip->ends, ip->protocol, ip->payload.size())) == 0xffff;
}

}  // namespace vmm::net
