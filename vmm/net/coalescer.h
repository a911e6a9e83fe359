// Coalescer: puts TCP segments that follow one another into one large packet, which the guest takes as one
// (virtio 1.2, section 5.1.6.4; what Linux calls GRO).
//
// Segments become one packet where cutting it again gives the same segments, byte for byte (TcpCutter): of
// one connection, in order, with the same headers, equal in length but for the last, which may be shorter or
// carry PSH. A packet is complete when it can grow no more, or when somebody is about to take it.
//
// Threads: its owner's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vmm/core/net_end.h"
#include "vmm/net/packet_queue.h"
#include "vmm/net/tcp_frame.h"

namespace vmm::net {

class Coalescer {
 public:
  // Puts packets into the queue, which outlives it, and into which nobody else puts some.
  explicit Coalescer(PacketQueue& queue) : queue_(queue) {}

  // What packets may be from now on. At first: only complete frames.
  void set_use(const PacketOffloads& gives);
  // A frame whose checksums are right. False: it was dropped, since the queue is full.
  bool add(std::span<const std::byte> frame);
  // Before anything is taken out of the queue.
  void complete();

 private:
  struct Growing {  // the queue's last packet
    TcpFrame at;    // of its first segment
    size_t segment_bytes = 0;
    uint32_t next_sequence = 0;
    uint16_t next_id = 0;  // of IPv4
  };

  bool may_grow(std::span<const std::byte> frame, const TcpFrame& at) const;
  bool fits(std::span<const std::byte> frame, const TcpFrame& at);
  bool grow(std::span<const std::byte> frame, const TcpFrame& at);
  void begin(std::span<const std::byte> frame, const TcpFrame& at);

  PacketQueue& queue_;
  PacketOffloads gives_;
  bool is_growing_ = false;
  Growing growing_;
};

}  // namespace vmm::net
