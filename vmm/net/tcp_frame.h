// Where things are in an Ethernet frame with a TCP segment over IPv4 (RFC 791) or IPv6 (RFC 8200), without a
// VLAN tag: RFC 9293.
//
// Threads: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "vmm/core/net_end.h"

namespace vmm::net {

inline constexpr size_t kEtherTypeAt = 12;
inline constexpr uint16_t kEtherTypeIp4 = 0x0800;
inline constexpr uint16_t kEtherTypeArp = 0x0806;
inline constexpr uint16_t kEtherTypeIp6 = 0x86dd;
inline constexpr size_t kIp4HeaderBytes = 20;
inline constexpr size_t kIp6HeaderBytes = 40;
inline constexpr size_t kTcpHeaderBytes = 20;
inline constexpr size_t kMaxIpBytes = 65535;

enum TcpFlag : uint8_t {
  kTcpFin = 0x01,
  kTcpSyn = 0x02,
  kTcpReset = 0x04,
  kTcpPush = 0x08,
  kTcpAck = 0x10,
  kTcpUrgent = 0x20,
  kTcpEcnEcho = 0x40,
  kTcpCwr = 0x80,
};

struct TcpFrame {
  // Which length counts where the two differ.
  enum class Length : uint8_t {
    kOfIp,     // that in the IP header; behind it there may be padding
    kOfFrame,  // the frame's: a large packet's header need not tell it
  };
  // Nothing: it is something else, a fragment, too short, or has IPv6 extension headers.
  static std::optional<TcpFrame> parse(std::span<const std::byte> frame, Length length = Length::kOfIp);

  static constexpr size_t kIpAt = kEthernetHeaderBytes;
  bool is_v4 = false;
  size_t tcp_at = 0;
  size_t payload_at = 0;
  size_t end = 0;  // of the payload; at most the frame's

  size_t payload_bytes() const { return end - payload_at; }
};

// Offsets in a TCP header.
inline constexpr size_t kTcpSequenceAt = 4;
inline constexpr size_t kTcpFlagsAt = 13;
inline constexpr size_t kTcpWindowAt = 14;
inline constexpr size_t kTcpChecksumAt = 16;
inline constexpr size_t kTcpUrgentAt = 18;
// In an IPv4 header.
inline constexpr size_t kIp4LengthAt = 2;
inline constexpr size_t kIp4IdAt = 4;
inline constexpr size_t kIp4FragmentAt = 6;
inline constexpr size_t kIp4ChecksumAt = 10;
// In an IPv6 header.
inline constexpr size_t kIp6LengthAt = 4;
inline constexpr size_t kIp6NextHeaderAt = 6;

// Makes the headers say that the IP packet ends with the frame: its length, IPv4's checksum, and the pseudo
// header's sum in place of TCP's checksum. REQUIRES: `at` is of this frame; its IP packet has at most
// kMaxIpBytes.
void set_lengths(std::span<std::byte> frame, const TcpFrame& at);

}  // namespace vmm::net
