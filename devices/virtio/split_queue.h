// SplitQueue: the device's side of one split virtqueue (virtio 1.2, section 2.7), in guest memory that a
// hostile driver may change at any time.
//
// Every descriptor is copied once and checked; indexes are kept here, modulo 2^16, and never read back from
// the guest. A queue that contradicts itself is "broken" and stays so until it is made anew.
//
// Threads: the device's I/O thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "devices/virtio/byte_stream.h"
#include "vmm/core/guest_address.h"
#include "vmm/core/guest_memory.h"

namespace vmm::virtio {

inline constexpr uint16_t kQueueSizeLimit = 1024;  // for what is offered here; the standard allows 32768

// Where the driver put a queue: three areas (section 2.7: "split" virtqueues).
struct QueueLayout {
  uint16_t size = 0;  // entries, a power of two
  GuestAddress descriptors;
  GuestAddress available;  // "driver area"
  GuestAddress used;       // "device area"
};

// One request: heads one chain of descriptors. Owned by its queue.
struct Chain {
  uint16_t head = 0;
  bool is_taken = false;        // popped and not yet given back
  bool has_bad_buffer = false;  // a buffer outside of guest memory, or more than 4 GiB: not to be carried out
  bool has_bad_end = false;     // the last writable buffer is the bad one
  ByteStream readable;
  ByteStream writable;
  std::vector<iovec> buffers;
};

class SplitQueue {
 public:
  struct Options {
    bool has_indirect = false;           // VIRTIO_F_INDIRECT_DESC negotiated
    bool has_event_index = false;        // VIRTIO_F_EVENT_IDX negotiated
    uint16_t max_chain_descriptors = 0;  // over direct and indirect ones; 0: the queue's size
  };
  // What a saved machine must hold of it, beside the layout.
  struct State {
    uint16_t next_available = 0;
    uint16_t next_used = 0;
    uint16_t published_used = 0;
    bool is_broken = false;
  };
  enum class Pop : uint8_t { kChain, kEmpty, kBroken };

  // Whether size, alignment and place of the three areas are possible (section 2.7).
  static bool is_valid(const QueueLayout& layout, const GuestMemory& memory);

  // REQUIRES: is_valid(layout, memory).
  SplitQueue(const GuestMemory& memory, const QueueLayout& layout, const Options& options);

  uint16_t size() const { return layout_.size; }
  const QueueLayout& layout() const { return layout_; }
  const State& state() const { return state_; }

  // Takes the next request: with kChain, popped() is it, valid until add_used(). With kBroken, fault() says
  // why.
  Pop pop();
  Chain& popped() { return chains_[popped_]; }
  std::string_view fault() const { return fault_; }
  // For devices that find a chain without any place for an answer.
  void mark_broken(std::string_view fault);

  // The chain that was popped last, of those that are taken still, goes back to where it was: the next pop()
  // finds it again. REQUIRES: it is that one, and nothing was written into it that the driver may not see.
  void put_back(uint16_t head);

  // Whether every chain that was taken is used, and shown to the driver.
  bool is_at_rest() const {
    return state_.next_used == state_.next_available && state_.published_used == state_.next_used;
  }
  // Somebody else has served it, up to this request. REQUIRES: is_at_rest().
  void continue_at(uint16_t next_available);

  // Gives a chain back, with the number of bytes written into it. The driver sees it after publish().
  // REQUIRES: the chain of this head is taken.
  void add_used(uint16_t head, uint32_t written_bytes);
  // Shows what was added to the driver; true where it wants an interrupt for that.
  [[nodiscard]] bool publish();

  // Asks the driver not to notify (a hint), or to notify again; the latter is true where requests came in
  // between, so that the queue must be looked at once more.
  void disable_notifications();
  [[nodiscard]] bool enable_notifications();
  // Whether a request waits; for polling.
  bool has_waiting() const;

 private:
  struct Descriptor {
    GuestAddress address;
    uint32_t length = 0;
    uint16_t flags = 0;
    uint16_t next = 0;
  };
  // A table of descriptors: the queue's own, or an indirect one.
  struct Table {
    GuestAddress start;
    uint32_t entries = 0;
  };
  struct Walk;

  Pop broken(std::string_view fault);
  std::optional<Descriptor> read_descriptor(const Table& table, uint32_t index) const;
  bool walk(Chain& chain);
  bool walk_table(Walk& walk, const Table& table, uint32_t first, bool is_indirect);
  bool enter_indirect(Walk& walk, const Descriptor& descriptor);
  bool add_buffer(Walk& walk, const Descriptor& descriptor);

  GuestAddress available_at(uint64_t offset) const {
    return GuestAddress(layout_.available.value() + offset);
  }
  GuestAddress used_at(uint64_t offset) const { return GuestAddress(layout_.used.value() + offset); }
  uint16_t load_available(uint64_t offset) const;

  const GuestMemory& memory_;
  const QueueLayout layout_;
  const Options options_;
  State state_;
  uint16_t seen_available_ = 0;  // avail.idx, when last looked at
  uint16_t popped_ = 0;
  std::string_view fault_;
  std::vector<Chain> chains_;  // by head
};

}  // namespace vmm::virtio
