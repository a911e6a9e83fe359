// OutputBuffer: what the guest has written to a console and the loop has not written out yet; bounded.
//
// Threads: append() from any thread; the rest on the loop's thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "vmm/base/thread_annotations.h"

namespace vmm {

class OutputBuffer {
 public:
  static constexpr size_t kCapacityBytes = size_t{64} * 1024;

  // What happens to bytes that find no room.
  enum class Policy : uint8_t {
    kHold,          // they are not taken: the reader is slow
    kDropWhenFull,  // they are dropped: the reader reads nothing
    kDropAll,       // they are dropped, room or not: there is no reader
  };

  // When the loop must be woken for what was appended.
  enum class Wake : uint8_t { kNot, kSoon, kNow };

  struct Appended {
    size_t taken_bytes = 0;
    Wake wake = Wake::kNot;
  };
  Appended append(std::span<const std::byte> bytes) VMM_EXCLUDES(mutex_);

  // How many of so many bytes append() takes. Where not all, the producer counts as refused.
  size_t room_for(size_t bytes) VMM_EXCLUDES(mutex_);

  // Before writing out: from here on append() asks to be woken again. True where it had asked for kSoon.
  bool begin_flush() VMM_EXCLUDES(mutex_);

  // The bytes to write out, in two pieces (either may be empty); they stay until consume().
  std::array<std::span<const std::byte>, 2> pending() const VMM_EXCLUDES(mutex_);
  bool is_empty() const VMM_EXCLUDES(mutex_);

  // The first `count` bytes are written out. True where the producer was refused bytes and is to be told
  // that there is room; not before half of the buffer is free.
  bool consume(size_t count) VMM_EXCLUDES(mutex_);

  // kDropAll also drops what is there. True where the producer is to be told, as above.
  bool set_policy(Policy policy) VMM_EXCLUDES(mutex_);
  Policy policy() const VMM_EXCLUDES(mutex_);

  // Was the producer refused bytes, and not told of room since?
  bool is_producer_waiting() const VMM_EXCLUDES(mutex_);

  // How many bytes kDropWhenFull has dropped since the last call.
  uint64_t take_dropped_bytes() VMM_EXCLUDES(mutex_);

 private:
  static constexpr size_t kEnoughToWakeBytes = 4096;

  bool take_producer_waiting() VMM_REQUIRES(mutex_);

  mutable Mutex mutex_;
  // Untouched pages cost nothing.
  const std::unique_ptr<std::byte[]> ring_ = std::make_unique_for_overwrite<std::byte[]>(kCapacityBytes);
  size_t first_ VMM_GUARDED_BY(mutex_) = 0;
  size_t count_ VMM_GUARDED_BY(mutex_) = 0;
  Policy policy_ VMM_GUARDED_BY(mutex_) = Policy::kHold;
  Wake wake_ VMM_GUARDED_BY(mutex_) = Wake::kNot;
  bool was_soon_asked_ VMM_GUARDED_BY(mutex_) = false;
  bool is_producer_waiting_ VMM_GUARDED_BY(mutex_) = false;
  uint64_t dropped_bytes_ VMM_GUARDED_BY(mutex_) = 0;
};

}  // namespace vmm
