// A host's end of a network that keeps what it is sent, and gives what a test puts there.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "vmm/core/net_end.h"

namespace vmm {

class FakeNetEnd final : public NetEnd {
 public:
  struct Packet {
    PacketHeader header;
    std::vector<std::byte> frame;
    uint16_t pair = 0;
  };

  explicit FakeNetEnd(uint16_t pairs = 1) : pairs_(pairs), wanted(pairs, false), waiting(pairs) {}

  uint16_t pairs() const override { return pairs_; }
  PacketOffloads takes() const override { return offloads; }
  PacketOffloads can_give() const override { return offloads; }
  void connect(NetReceiver& receiver) override { receiver_ = &receiver; }
  void set_use(uint16_t pairs, const PacketOffloads& gives) override {
    pairs_used = pairs;
    given = gives;
  }
  Sent send(uint16_t pair, const PacketHeader& header, std::span<const iovec> frame,
            size_t frame_bytes) override {
    if (is_full) {
      return Sent::kFull;
    }
    if (drops) {
      return Sent::kDropped;
    }
    Packet packet{.header = header, .frame = {}, .pair = pair};
    for (const iovec& piece : frame) {
      const auto* const bytes = static_cast<const std::byte*>(piece.iov_base);
      packet.frame.insert(packet.frame.end(), bytes, bytes + piece.iov_len);
    }
    is_length_right = is_length_right && packet.frame.size() == frame_bytes;
    sent.push_back(std::move(packet));
    return Sent::kDone;
  }
  void want_packets(uint16_t pair, bool is_wanted) override { wanted[pair] = is_wanted; }
  size_t receive(uint16_t pair, std::span<const iovec> room) override {
    size_t room_bytes = 0;
    for (const iovec& piece : room) {
      room_bytes += piece.iov_len;
    }
    while (!waiting[pair].empty()) {
      const std::vector<std::byte> packet = std::move(waiting[pair].front());
      waiting[pair].pop_front();
      if (packet.size() > room_bytes) {
        ++dropped;
        continue;
      }
      size_t at = 0;
      for (const iovec& piece : room) {
        const size_t count = std::min(piece.iov_len, packet.size() - at);
        std::copy_n(packet.begin() + static_cast<ptrdiff_t>(at), count,
                    static_cast<std::byte*>(piece.iov_base));
        at += count;
      }
      return packet.size();
    }
    return 0;
  }

  // --- The test's side ---

  void put(const std::vector<std::byte>& frame, uint16_t pair = 0, const PacketHeader& header = {}) {
    const PacketHeaderBytes bytes = header.bytes();
    std::vector<std::byte> packet(bytes.begin(), bytes.end());
    packet.insert(packet.end(), frame.begin(), frame.end());
    waiting[pair].push_back(std::move(packet));
  }
  // As the loop would.
  void tell(uint16_t pair = 0) {
    if (wanted[pair] && !waiting[pair].empty()) {
      receiver_->packets_wait(pair);
    }
  }
  void make_room(uint16_t pair = 0) {
    is_full = false;
    receiver_->has_room(pair);
  }

 private:
  const uint16_t pairs_;
  NetReceiver* receiver_ = nullptr;

 public:
  PacketOffloads offloads{.checksum = true, .tcp4 = true, .tcp6 = true, .ecn = true};
  uint16_t pairs_used = 0;
  PacketOffloads given;
  std::vector<Packet> sent;
  bool drops = false;
  bool is_full = false;
  bool is_length_right = true;
  std::vector<bool> wanted;
  std::vector<std::deque<std::vector<std::byte>>> waiting;
  size_t dropped = 0;
};

}  // namespace vmm
