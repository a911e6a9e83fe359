// IpReassembler: puts fragments of IPv4 packets together (RFC 791, section 3.2; RFC 815).
//
// It stands in front of libslirp, whose own can be made to write where it must not (4.7), and keeps fragments
// without a bound. Here at most kMostPackets are unfinished, the oldest makes room, and each has
// kTimeout. Fragments that overlap others end their packet (as RFC 5722 says of IPv6), but for those that
// came twice.
//
// Threads: its owner's. Times are of any clock that does not go back.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace vmm::net {

class IpReassembler {
 public:
  using Duration = std::chrono::nanoseconds;
  static constexpr size_t kMostPackets = 16;
  static constexpr size_t kMostGaps = 64;  // in one packet
  static constexpr Duration kTimeout = std::chrono::seconds(30);

  // Whether an Ethernet frame has something else than a whole packet of IPv4, or a reserved flag.
  static bool is_fragment(std::span<const std::byte> frame);

  // The frame with the whole packet, which stays until the next call; empty: some of it is not there yet, or
  // the fragment was wrong.
  std::span<std::byte> add(std::span<const std::byte> frame, Duration now);

 private:
  struct Fragment {
    std::array<std::byte, 11> key{};  // addresses, identification and protocol
    std::span<const std::byte> headers;
    std::span<const std::byte> payload;
    size_t from = 0;  // of the payload in the packet's
    bool is_last = false;
  };
  struct Part {
    size_t from = 0;
    size_t to = 0;
  };
  struct Packet {
    std::array<std::byte, 11> key{};
    Duration due{0};
    std::vector<std::byte> headers;  // Ethernet's and IP's of the first fragment
    std::vector<std::byte> payload;
    std::vector<Part> parts;  // that are there, in order, with gaps between them
    std::optional<size_t> payload_bytes;
  };
  enum class Added : uint8_t { kWaits, kComplete, kWrong };

  static std::optional<Fragment> parse(std::span<const std::byte> frame);
  static Added add(Packet& packet, const Fragment& fragment);
  static bool add_part(Packet& packet, const Part& part);
  std::span<std::byte> assemble(const Packet& packet);

  std::vector<Packet> packets_;  // the oldest first
  std::vector<std::byte> whole_;
};

}  // namespace vmm::net
