#include "vmm/net/ip_reassembler.h"

#include <algorithm>

#include "vmm/base/bytes.h"
#include "vmm/net/checksum.h"
#include "vmm/net/tcp_frame.h"

namespace vmm::net {
namespace {

constexpr size_t kIpAt = kEthernetHeaderBytes;
constexpr uint16_t kDontFragment = 0x4000;
constexpr uint16_t kMoreFragments = 0x2000;
constexpr uint16_t kReservedFlag = 0x8000;
constexpr uint16_t kOffsetMask = 0x1fff;
constexpr size_t kOffsetUnit = 8;

}  // namespace

bool IpReassembler::is_fragment(std::span<const std::byte> frame) {
  return frame.size() >= kIpAt + kIp4HeaderBytes &&
         load_be<uint16_t>(&frame[kEtherTypeAt]) == kEtherTypeIp4 &&
         (load_be<uint16_t>(&frame[kIpAt + kIp4FragmentAt]) & ~uint32_t{kDontFragment}) != 0;
}

std::optional<IpReassembler::Fragment> IpReassembler::parse(std::span<const std::byte> frame) {
  const auto ip = frame.subspan(kIpAt);
  const size_t header_bytes = 4 * std::to_integer<size_t>(ip[0] & std::byte{0xf});
  const size_t total_bytes = load_be<uint16_t>(&ip[kIp4LengthAt]);
  const auto field = load_be<uint16_t>(&ip[kIp4FragmentAt]);
  if ((ip[0] >> 4U) != std::byte{4} || header_bytes < kIp4HeaderBytes || total_bytes <= header_bytes ||
      total_bytes > ip.size() || (field & kReservedFlag) != 0 ||
      sum_words(ip.first(header_bytes)) != 0xffff) {
    return std::nullopt;
  }
  Fragment fragment{.headers = frame.first(kIpAt + header_bytes),
                    .payload = ip.subspan(header_bytes, total_bytes - header_bytes),
                    .from = (field & kOffsetMask) * kOffsetUnit,
                    .is_last = (field & kMoreFragments) == 0};
  const bool is_aligned = fragment.is_last || fragment.payload.size() % kOffsetUnit == 0;
  if (!is_aligned || fragment.from + total_bytes > kMaxIpBytes) {
    return std::nullopt;
  }
  std::copy_n(&ip[12], 8, fragment.key.begin());
  std::copy_n(&ip[kIp4IdAt], 2, fragment.key.begin() + 8);
  fragment.key[10] = ip[9];
  return fragment;
}

// False: it overlaps another part without being the same, or there are too many gaps.
bool IpReassembler::add_part(Packet& packet, const Part& part) {
  auto& parts = packet.parts;
  const auto next = std::ranges::find_if(parts, [&](const Part& other) { return other.to >= part.from; });
  if (next == parts.end() || next->from > part.to) {
    parts.insert(next, part);
    return parts.size() <= kMostGaps;
  }
  if (next->from < part.to && next->to > part.from) {
    return false;
  }
  // They meet, perhaps at both ends.
  next->from = std::min(next->from, part.from);
  next->to = std::max(next->to, part.to);
  const auto behind = next + 1;
  if (behind != parts.end() && behind->from <= next->to) {
    if (behind->from < next->to) {
      return false;
    }
    next->to = behind->to;
    parts.erase(behind);
  }
  return true;
}

IpReassembler::Added IpReassembler::add(Packet& packet, const Fragment& fragment) {
  const Part part{.from = fragment.from, .to = fragment.from + fragment.payload.size()};
  const bool is_there = std::ranges::any_of(
      packet.parts, [&](const Part& other) { return other.from <= part.from && part.to <= other.to; });
  if (is_there) {
    return std::ranges::equal(fragment.payload,
                              std::span(packet.payload).subspan(part.from, fragment.payload.size()))
               ? Added::kWaits
               : Added::kWrong;
  }
  const size_t end = packet.payload_bytes.value_or(kMaxIpBytes);
  const bool is_beyond =
      part.to > end || (fragment.is_last && (packet.payload_bytes || part.to < packet.payload.size()));
  if (is_beyond || !add_part(packet, part)) {
    return Added::kWrong;
  }
  if (fragment.is_last) {
    packet.payload_bytes = part.to;
  }
  if (part.from == 0) {
    packet.headers.assign(fragment.headers.begin(), fragment.headers.end());
  }
  packet.payload.resize(std::max(packet.payload.size(), part.to));
  std::ranges::copy(fragment.payload, packet.payload.begin() + static_cast<ptrdiff_t>(part.from));
  const bool is_complete = packet.payload_bytes && packet.parts.size() == 1 &&
                           packet.parts.front().from == 0 && packet.parts.front().to == *packet.payload_bytes;
  return is_complete ? Added::kComplete : Added::kWaits;
}

std::span<std::byte> IpReassembler::assemble(const Packet& packet) {
  const size_t ip_bytes = packet.headers.size() - kIpAt + packet.payload.size();
  if (ip_bytes > kMaxIpBytes) {
    return {};
  }
  whole_.assign(packet.headers.begin(), packet.headers.end());
  std::byte* const ip = &whole_[kIpAt];
  store_be<uint16_t>(ip + kIp4LengthAt, static_cast<uint16_t>(ip_bytes));
  store_be<uint16_t>(ip + kIp4FragmentAt, 0);
  store_sum(ip + kIp4ChecksumAt, 0);
  store_sum(ip + kIp4ChecksumAt, static_cast<uint16_t>(~sum_words(std::span(whole_).subspan(kIpAt))));
  whole_.insert(whole_.end(), packet.payload.begin(), packet.payload.end());
  return whole_;
}

std::span<std::byte> IpReassembler::add(std::span<const std::byte> frame, Duration now) {
  std::erase_if(packets_, [&](const Packet& packet) { return packet.due <= now; });
  const auto fragment = parse(frame);
  if (!fragment) {
    return {};
  }
  auto packet = std::ranges::find(packets_, fragment->key, &Packet::key);
  if (packet == packets_.end()) {
    if (packets_.size() == kMostPackets) {
      packets_.erase(packets_.begin());
    }
    packets_.push_back({.key = fragment->key, .due = now + kTimeout});
    packet = packets_.end() - 1;
  }
  const Added added = add(*packet, *fragment);
  if (added == Added::kWaits) {
    return {};
  }
  const auto whole = added == Added::kComplete ? assemble(*packet) : std::span<std::byte>();
  packets_.erase(packet);
  return whole;
}

}  // namespace vmm::net
