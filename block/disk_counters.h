// DiskCounters: what a guest did with a disk, as its front end saw it: operations, bytes, times, and how long
// they took by powers of two.
//
// Times are of the steady clock, in ns. A request that waits for a limit or for the host counts as running.
// Threads: begin(), end() and drop() on the disk's loop; count_invalid() and the rest from any. What is read
// while the disk works may be of slightly different moments.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "block/block_device.h"

namespace vmm::block {

class DiskCounters {
 public:
  // kWrite: writes of zeroes, too.
  enum Kind : uint8_t { kRead, kWrite, kFlush, kUnmap, kKinds };
  static constexpr Kind kind_of(BlockOp op) {
    switch (op) {
      case BlockOp::kRead:
        return kRead;
      case BlockOp::kWrite:
      case BlockOp::kWriteZeroes:
        return kWrite;
      case BlockOp::kFlush:
        return kFlush;
      case BlockOp::kDiscard:
        return kUnmap;
    }
    return kRead;
  }

  // Bucket n: less than 2^(kFirstBucketBits + n) ns, and not in the one before; the last: all others.
  static constexpr uint32_t kFirstBucketBits = 12;  // 4 us
  static constexpr size_t kBuckets = 24;            // to 17 s, and what is longer
  static constexpr uint64_t bucket_end_ns(size_t bucket) {
    return uint64_t{1} << (kFirstBucketBits + bucket);
  }

  struct Operations {
    uint64_t count = 0;
    uint64_t bytes = 0;
    uint64_t total_ns = 0;  // of those that failed, too
    uint64_t failed = 0;    // not in count
    uint64_t invalid = 0;   // outside of the disk, or to one that is only read; not in count
    std::array<uint64_t, kBuckets> latencies{};  // of those that failed, too
  };
  struct Values {
    std::array<Operations, kKinds> operations;
    uint64_t in_flight = 0;
    uint64_t highest_write_end = 0;  // the end of what was written furthest behind
    uint64_t last_ns = 0;            // when an operation ended last; 0: none has
  };

  static uint64_t now_ns() {
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                     std::chrono::steady_clock::now().time_since_epoch())
                                     .count());
  }

  // Gives the time, for end(). In turns: each begin() with an end() or a drop().
  uint64_t begin() {
    add(begun_, 1);
    return now_ns();
  }
  void end(Kind kind, uint64_t begun_ns, uint64_t bytes, bool has_failed, uint64_t now = now_ns()) {
    const uint64_t time = now - std::min(begun_ns, now);
    Counters& counters = operations_[kind];
    if (has_failed) {
      add(counters.failed, 1);
    } else {
      add(counters.count, 1);
      add(counters.bytes, bytes);
    }
    add(counters.total_ns, time);
    add(counters.latencies[bucket_of(time)], 1);
    last_ns_.store(now, std::memory_order_relaxed);
    add(ended_, 1);
  }
  // Nobody wants to know any more how it ended.
  void drop() { add(ended_, 1); }
  void note_written(uint64_t end) {
    if (end > highest_write_end_.load(std::memory_order_relaxed)) {
      highest_write_end_.store(end, std::memory_order_relaxed);
    }
  }
  void count_invalid(Kind kind) {
    operations_[kind].invalid.fetch_add(1, std::memory_order_relaxed);
    last_ns_.store(now_ns(), std::memory_order_relaxed);
  }

  Values values() const {
    Values values;
    for (size_t kind = 0; kind < kKinds; ++kind) {
      const Counters& from = operations_[kind];
      Operations& to = values.operations[kind];
      to = {.count = get(from.count),
            .bytes = get(from.bytes),
            .total_ns = get(from.total_ns),
            .failed = get(from.failed),
            .invalid = get(from.invalid)};
      std::ranges::transform(from.latencies, to.latencies.begin(), get);
    }
    const uint64_t ended = get(ended_);
    values.in_flight = get(begun_) - std::min(ended, get(begun_));
    values.highest_write_end = get(highest_write_end_);
    values.last_ns = get(last_ns_);
    return values;
  }

 private:
  using Counter = std::atomic<uint64_t>;
  struct Counters {
    Counter count, bytes, total_ns, failed, invalid;
    std::array<Counter, kBuckets> latencies{};
  };

  static constexpr size_t bucket_of(uint64_t time_ns) {
    const auto bits = static_cast<uint32_t>(std::bit_width(time_ns));
    return bits <= kFirstBucketBits ? 0 : std::min<size_t>(bits - kFirstBucketBits, kBuckets - 1);
  }
  static uint64_t get(const Counter& counter) { return counter.load(std::memory_order_relaxed); }
  // One thread writes: no locked instruction.
  static void add(Counter& counter, uint64_t value) {
    counter.store(counter.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
  }

  std::array<Counters, kKinds> operations_{};
  Counter begun_{0}, ended_{0};
  Counter highest_write_end_{0};
  Counter last_ns_{0};
};

}  // namespace vmm::block
