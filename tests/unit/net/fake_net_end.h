// A network that keeps what it is sent, and gives what it is told to.
#pragma once

#include <deque>
#include <vector>

#include "tests/unit/net/frames.h"
#include "vmm/core/net_end.h"
#include "vmm/net/packet_queue.h"

namespace vmm::net {

class FakeNetEnd final : public NetEnd {
 public:
  explicit FakeNetEnd(uint16_t pairs = 1) : wanted(pairs) {}

  uint16_t pairs() const override { return static_cast<uint16_t>(wanted.size()); }
  PacketOffloads takes() const override { return {.checksum = true}; }
  PacketOffloads can_give() const override { return {.checksum = true, .tcp4 = true}; }
  void connect(NetReceiver& to) override { receiver = &to; }
  void set_use(uint16_t pairs, const PacketOffloads& offloads) override {
    used_pairs = pairs;
    gives = offloads;
  }
  Sent send(uint16_t /*pair*/, const PacketHeader& /*header*/, std::span<const iovec> frame,
            size_t frame_bytes) override {
    if (is_full) {
      return Sent::kFull;
    }
    if (drops) {
      return Sent::kDropped;
    }
    Bytes bytes(frame_bytes);
    gather(frame, bytes);
    sent.push_back(std::move(bytes));
    return Sent::kDone;
  }
  void want_packets(uint16_t pair, bool is_wanted) override { wanted[pair] = is_wanted; }
  size_t receive(uint16_t /*pair*/, std::span<const iovec> room) override {
    if (waiting.empty()) {
      return 0;
    }
    const Bytes frame = waiting.front();
    waiting.pop_front();
    scatter(PacketHeader{.flags = PacketHeader::kChecksumIsValid}.bytes(), room, 0);
    return kPacketHeaderBytes + scatter(frame, room, kPacketHeaderBytes);
  }

  // As a turn of the loop does.
  void tell() {
    for (uint16_t pair = 0; pair < wanted.size(); ++pair) {
      if (wanted[pair] && !waiting.empty()) {
        receiver->packets_wait(pair);
      }
    }
  }

  std::vector<bool> wanted;
  std::deque<Bytes> waiting;
  std::vector<Bytes> sent;
  bool is_full = false;
  bool drops = false;
  uint16_t used_pairs = 0;
  PacketOffloads gives;
  NetReceiver* receiver = nullptr;
};

// A device that takes and counts.
class FakeNetReceiver final : public NetReceiver {
 public:
  explicit FakeNetReceiver(NetEnd& end) : end_(end) { end.connect(*this); }

  void packets_wait(uint16_t pair) override {
    ++wait_calls;
    while (receive(pair) > 0) {
    }
  }
  void has_room(uint16_t /*pair*/) override { ++room_calls; }
  size_t receive(uint16_t pair) {
    Bytes room(kMaxPacketBytes);
    const iovec buffer{.iov_base = room.data(), .iov_len = room.size()};
    const size_t bytes = end_.receive(pair, {&buffer, 1});
    if (bytes > 0) {
      received.emplace_back(room.begin() + kPacketHeaderBytes, room.begin() + static_cast<ptrdiff_t>(bytes));
    }
    return bytes;
  }
  NetEnd::Sent send(Bytes frame, uint16_t pair = 0) {
    const size_t half = frame.size() / 2;
    const iovec buffers[] = {{.iov_base = frame.data(), .iov_len = half},
                             {.iov_base = frame.data() + half, .iov_len = frame.size() - half}};
    return end_.send(pair, {}, buffers, frame.size());
  }

  std::vector<Bytes> received;
  int wait_calls = 0;
  int room_calls = 0;

 private:
  NetEnd& end_;
};

}  // namespace vmm::net
