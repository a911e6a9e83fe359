// PacketQueue: packets that wait for a guest to take them; a ring of bytes with a bound.
//
// The last packet may grow while nobody has taken it. Threads: its owner's.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <span>

#include "vmm/core/net_end.h"

namespace vmm::net {

class PacketQueue {
 public:
  explicit PacketQueue(size_t capacity_bytes);

  size_t capacity_bytes() const { return capacity_; }
  // Of what waits, with its headers.
  size_t bytes() const { return bytes_; }
  bool is_empty() const { return packets_.empty(); }
  void clear();

  // False: there is no room.
  bool push(const PacketHeader& header, std::span<const std::byte> frame);

  // The last packet. REQUIRES: !is_empty().
  PacketHeader& last_header() { return packets_.back().header; }
  std::span<std::byte> last_frame();
  // False: there is no room behind it.
  bool extend_last(std::span<const std::byte> bytes);

  // NetEnd::receive().
  size_t receive(std::span<const iovec> room);

 private:
  struct Packet {
    PacketHeader header;
    size_t at = 0;
    size_t frame_bytes = 0;
  };
  bool is_wrapped() const { return packets_.back().at < packets_.front().at; }
  void pop();

  size_t capacity_;
  std::unique_ptr<std::byte[]> ring_;
  std::deque<Packet> packets_;
  size_t bytes_ = 0;
};

// Copies all of `from` to the buffers, one after another, `skip` bytes behind their beginning. Returns how
// many fitted.
size_t scatter(std::span<const std::byte> from, std::span<const iovec> to, size_t skip);
// Copies the buffers' bytes, at most as many as fit; returns how many.
size_t gather(std::span<const iovec> from, std::span<std::byte> to);

}  // namespace vmm::net
