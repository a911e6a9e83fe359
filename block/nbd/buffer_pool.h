// BufferPool: the memory of one client's requests, bounded, and kept for the next ones while it is warm.
//
// Threads: its session's.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "block/aligned_memory.h"

namespace vmm::block::nbd {

class BufferPool {
 public:
  // Of buffers that are given out at once, and of those that are kept beside them.
  static constexpr size_t kMaxBytes = size_t{32} << 20U;
  static constexpr size_t kMaxKeptBytes = size_t{4} << 20U;

  struct Buffer {
    AlignedMemory memory;
    size_t capacity = 0;

    explicit operator bool() const { return memory != nullptr; }
  };

  // REQUIRES for both: 0 < bytes <= kMaxBytes.
  bool has_room_for(size_t bytes) const { return capacity_for(bytes) <= kMaxBytes - given_out_; }
  // What it holds is anything. Empty: the host has no memory. REQUIRES: has_room_for(bytes).
  Buffer take(size_t bytes) {
    const size_t capacity = capacity_for(bytes);
    Buffer buffer;
    if (std::vector<AlignedMemory>* const kept = kept_of(capacity); kept != nullptr && !kept->empty()) {
      buffer.memory = std::move(kept->back());
      kept->pop_back();
      kept_bytes_ -= capacity;
    } else {
      buffer.memory = make_aligned_memory(capacity);
    }
    if (buffer.memory != nullptr) {
      buffer.capacity = capacity;
      given_out_ += capacity;
    }
    return buffer;
  }
  void give_back(Buffer buffer) {
    given_out_ -= buffer.capacity;
    std::vector<AlignedMemory>* const kept = kept_of(buffer.capacity);
    if (buffer && kept != nullptr && kept_bytes_ + buffer.capacity <= kMaxKeptBytes) {
      kept->push_back(std::move(buffer.memory));
      kept_bytes_ += buffer.capacity;
    }
  }

 private:
  // 4 KiB to 2 MiB, in powers of two. What is longer is made for its request alone.
  static constexpr unsigned kSmallestBits = 12;
  static constexpr unsigned kLargestBits = 21;

  static size_t capacity_for(size_t bytes) {
    const size_t pages = align_up(bytes, size_t{1} << kSmallestBits);
    return pages > size_t{1} << kLargestBits ? pages : std::bit_ceil(pages);
  }
  std::vector<AlignedMemory>* kept_of(size_t capacity) {
    const auto bits = static_cast<unsigned>(std::bit_width(capacity)) - 1;
    return capacity == 0 || bits > kLargestBits || !std::has_single_bit(capacity)
               ? nullptr
               : &kept_[bits - kSmallestBits];
  }

  std::array<std::vector<AlignedMemory>, kLargestBits - kSmallestBits + 1> kept_;
  size_t given_out_ = 0;
  size_t kept_bytes_ = 0;
};

}  // namespace vmm::block::nbd
