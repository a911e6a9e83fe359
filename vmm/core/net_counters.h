// NetCounters: what went through a guest's network interface, as its device saw it. `received` is what the
// guest got, `sent` what came from it.
//
// Bytes are those of Ethernet frames, without their check sequences; a large packet, which is cut into
// segments elsewhere, counts as one.
// Threads: count_…() on the interface's loop; values() from any. What is read while packets pass may be of
// slightly different moments.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace vmm {

class NetCounters {
 public:
  struct Direction {
    uint64_t packets = 0;
    uint64_t bytes = 0;
    uint64_t dropped = 0;  // packets, which are not in `packets`
  };
  struct Values {
    Direction received;  // dropped: the guest had no room for them, or the link was down
    // dropped: the network did not take them, a filter against false addresses (<filterref>) stopped them, or
    // the link was down
    Direction sent;
    uint64_t received_filtered = 0;  // packets that the guest's driver, or that filter, does not want
    uint64_t sent_errors = 0;        // packets that are none, or ask for what was not negotiated
  };

  void count_received(size_t frame_bytes) { count(received_, frame_bytes); }
  void count_received_dropped() { add(received_.dropped, 1); }
  void count_received_filtered() { add(received_filtered_, 1); }
  void count_sent(size_t frame_bytes) { count(sent_, frame_bytes); }
  void count_sent_dropped() { add(sent_.dropped, 1); }
  void count_sent_error() { add(sent_errors_, 1); }

  Values values() const {
    return {.received = values_of(received_),
            .sent = values_of(sent_),
            .received_filtered = get(received_filtered_),
            .sent_errors = get(sent_errors_)};
  }

 private:
  using Counter = std::atomic<uint64_t>;
  struct Counters {
    Counter packets{0}, bytes{0}, dropped{0};
  };

  static uint64_t get(const Counter& counter) { return counter.load(std::memory_order_relaxed); }
  static Direction values_of(const Counters& counters) {
    return {.packets = get(counters.packets), .bytes = get(counters.bytes), .dropped = get(counters.dropped)};
  }
  // One thread writes: no locked instruction.
  static void add(Counter& counter, uint64_t value) {
    counter.store(counter.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
  }
  static void count(Counters& counters, size_t frame_bytes) {
    add(counters.packets, 1);
    add(counters.bytes, frame_bytes);
  }

  Counters received_, sent_;
  Counter received_filtered_{0}, sent_errors_{0};
};

}  // namespace vmm
