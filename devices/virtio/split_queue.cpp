#include "devices/virtio/split_queue.h"

#include <array>
#include <atomic>
#include <optional>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::virtio {
namespace {

// Section 2.7.5.
constexpr uint64_t kDescriptorBytes = 16;
constexpr uint16_t kFlagNext = 1;
constexpr uint16_t kFlagWrite = 2;
constexpr uint16_t kFlagIndirect = 4;
// Sections 2.7.6 and 2.7.8: flags, idx, ring[size], and the other side's event field.
constexpr uint64_t kFlags = 0;
constexpr uint64_t kIndex = 2;
constexpr uint64_t kRing = 4;
constexpr uint64_t kAvailableEntryBytes = 2;
constexpr uint64_t kUsedEntryBytes = 8;
constexpr uint16_t kAvailableNoInterrupt = 1;
constexpr uint16_t kUsedNoNotify = 1;

constexpr uint64_t available_bytes(uint16_t size) { return kRing + kAvailableEntryBytes * size + 2; }
constexpr uint64_t used_bytes(uint16_t size) { return kRing + kUsedEntryBytes * size + 2; }

}  // namespace

struct SplitQueue::Walk {
  Chain& chain;
  size_t readable_buffers = 0;
  uint32_t descriptors_left = 0;
  uint64_t total_bytes = 0;
  bool has_writable = false;
};

bool SplitQueue::is_valid(const QueueLayout& layout, const GuestMemory& memory) {
  if (layout.size > kQueueSizeLimit || !is_power_of_two(layout.size)) {
    return false;
  }
  const bool is_aligned = layout.descriptors.value() % 16 == 0 && layout.available.value() % 2 == 0 &&
                          layout.used.value() % 4 == 0;
  return is_aligned && memory.contains(layout.descriptors, kDescriptorBytes * layout.size) &&
         memory.contains(layout.available, available_bytes(layout.size)) &&
         memory.contains(layout.used, used_bytes(layout.size));
}

SplitQueue::SplitQueue(const GuestMemory& memory, const QueueLayout& layout, const Options& options)
    : memory_(memory), layout_(layout), options_(options), chains_(layout.size) {
  VMM_CHECK(is_valid(layout, memory), "a queue was not checked");
  for (uint16_t head = 0; head < layout.size; ++head) {
    chains_[head].head = head;
  }
}

uint16_t SplitQueue::load_available(uint64_t offset) const {
  // The areas were checked in the constructor, and memory does not go away.
  return memory_.load_acquire<uint16_t>(available_at(offset)).value_or(0);
}

SplitQueue::Pop SplitQueue::broken(std::string_view fault) {
  mark_broken(fault);
  return Pop::kBroken;
}

void SplitQueue::mark_broken(std::string_view fault) {
  state_.is_broken = true;
  fault_ = fault;
}

SplitQueue::Pop SplitQueue::pop() {
  if (state_.is_broken) {
    return Pop::kBroken;
  }
  if (seen_available_ == state_.next_available) {
    seen_available_ = load_available(kIndex);
    const auto waiting = static_cast<uint16_t>(seen_available_ - state_.next_available);
    if (waiting == 0) {
      return Pop::kEmpty;
    }
    if (waiting > layout_.size) {
      return broken("more requests are available than the queue can hold");
    }
  }
  const uint64_t slot = state_.next_available % layout_.size;
  const uint16_t head = load_available(kRing + kAvailableEntryBytes * slot);
  if (head >= layout_.size) {
    return broken("a chain's head is outside of the descriptor table");
  }
  Chain& chain = chains_[head];
  if (chain.is_taken) {
    return broken("a chain was made available again before it was used");
  }
  if (!walk(chain)) {
    return Pop::kBroken;
  }
  ++state_.next_available;
  chain.is_taken = true;
  popped_ = head;
  return Pop::kChain;
}

std::optional<SplitQueue::Descriptor> SplitQueue::read_descriptor(const Table& table, uint32_t index) const {
  std::array<std::byte, kDescriptorBytes> bytes{};
  const std::optional<GuestAddress> address = table.start.plus(kDescriptorBytes * index);
  if (!address || !memory_.read_bytes(*address, bytes)) {
    return std::nullopt;
  }
  return Descriptor{.address = GuestAddress(load_le<uint64_t>(&bytes[0])),
                    .length = load_le<uint32_t>(&bytes[8]),
                    .flags = load_le<uint16_t>(&bytes[12]),
                    .next = load_le<uint16_t>(&bytes[14])};
}

bool SplitQueue::walk(Chain& chain) {
  chain.has_bad_buffer = false;
  chain.has_bad_end = false;
  chain.buffers.clear();
  const uint32_t limit = options_.max_chain_descriptors != 0 ? options_.max_chain_descriptors : layout_.size;
  Walk walk{.chain = chain, .descriptors_left = limit};
  if (!walk_table(walk, {layout_.descriptors, layout_.size}, chain.head, false)) {
    return false;
  }
  const std::span<iovec> all(chain.buffers);
  chain.readable = ByteStream(all.first(walk.readable_buffers));
  chain.writable = ByteStream(all.subspan(walk.readable_buffers));
  return true;
}

bool SplitQueue::walk_table(Walk& walk, const Table& table, uint32_t first, bool is_indirect) {
  uint32_t index = first;
  // A chain of more descriptors than its table has is a loop.
  for (uint32_t hops = 0; hops < table.entries; ++hops) {
    const std::optional<Descriptor> descriptor = read_descriptor(table, index);
    if (!descriptor) {
      mark_broken("an indirect descriptor table is outside of guest memory");
      return false;
    }
    if ((descriptor->flags & kFlagIndirect) != 0) {
      if (is_indirect) {
        mark_broken("an indirect descriptor table refers to another");
        return false;
      }
      return enter_indirect(walk, *descriptor);
    }
    if (!add_buffer(walk, *descriptor)) {
      return false;
    }
    if ((descriptor->flags & kFlagNext) == 0) {
      return true;
    }
    index = descriptor->next;
    if (index >= table.entries) {
      mark_broken("a chain leads out of its descriptor table");
      return false;
    }
  }
  mark_broken("a chain of descriptors does not end");
  return false;
}

bool SplitQueue::enter_indirect(Walk& walk, const Descriptor& descriptor) {
  // Section 2.7.5.3: no NEXT beside INDIRECT; WRITE is without meaning there.
  const bool has_next = (descriptor.flags & kFlagNext) != 0;
  const uint32_t entries = descriptor.length / kDescriptorBytes;
  if (!options_.has_indirect || has_next) {
    mark_broken("an indirect descriptor where none may be");
    return false;
  }
  if (descriptor.length % kDescriptorBytes != 0 || entries == 0 || entries > walk.descriptors_left) {
    mark_broken("an indirect descriptor table is of an impossible length");
    return false;
  }
  return walk_table(walk, {descriptor.address, entries}, 0, true);
}

bool SplitQueue::add_buffer(Walk& walk, const Descriptor& descriptor) {
  const bool is_writable = (descriptor.flags & kFlagWrite) != 0;
  if (!is_writable && walk.has_writable) {
    mark_broken("a readable descriptor follows a writable one");
    return false;
  }
  if (walk.descriptors_left == 0) {
    mark_broken("a chain is longer than the queue");
    return false;
  }
  --walk.descriptors_left;
  walk.has_writable = is_writable;
  if (descriptor.length == 0) {
    return true;
  }
  // Section 2.7.5.2: a chain holds at most 2^32 bytes, and its length must fit in the used element.
  walk.total_bytes += descriptor.length;
  const bool is_memory = memory_.io_buffers({descriptor.address, descriptor.length}, walk.chain.buffers);
  if (is_memory && !is_writable) {
    ++walk.readable_buffers;
  }
  walk.chain.has_bad_buffer |= !is_memory || walk.total_bytes >= UINT32_MAX;
  walk.chain.has_bad_end = is_writable && !is_memory;
  return true;
}

void SplitQueue::put_back(uint16_t head) {
  VMM_CHECK(head < layout_.size && chains_[head].is_taken, "a chain was put back that is not taken");
  chains_[head].is_taken = false;
  --state_.next_available;
}

void SplitQueue::continue_at(uint16_t next_available) {
  VMM_CHECK(is_at_rest(), "a ring was served by two");
  state_.next_available = next_available;
  state_.next_used = next_available;
  state_.published_used = next_available;
  seen_available_ = next_available;
}

void SplitQueue::add_used(uint16_t head, uint32_t written_bytes) {
  VMM_CHECK(head < layout_.size && chains_[head].is_taken, "a chain was given back twice");
  chains_[head].is_taken = false;
  std::array<std::byte, kUsedEntryBytes> element{};
  store_le<uint32_t>(&element[0], head);
  store_le<uint32_t>(&element[4], written_bytes);
  const uint64_t slot = state_.next_used % layout_.size;
  static_cast<void>(memory_.write_bytes(used_at(kRing + kUsedEntryBytes * slot), element));
  ++state_.next_used;
}

bool SplitQueue::publish() {
  const uint16_t before = state_.published_used;
  const uint16_t now = state_.next_used;
  if (now == before) {
    return false;
  }
  state_.published_used = now;
  static_cast<void>(memory_.store_release<uint16_t>(used_at(kIndex), now));
  // Section 2.7.7.1: used.idx must be visible before the driver's wish is read, else both sides may miss each
  // other.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!options_.has_event_index) {
    return (load_available(kFlags) & kAvailableNoInterrupt) == 0;
  }
  // Section 2.7.7.2 with all differences modulo 2^16: was used_event passed by this step?
  const uint16_t used_event = load_available(kRing + kAvailableEntryBytes * layout_.size);
  const auto since_event = static_cast<uint16_t>(now - used_event - 1);
  return since_event < static_cast<uint16_t>(now - before);
}

void SplitQueue::disable_notifications() {
  // With event index, an avail_event that is not moved on does it.
  if (!options_.has_event_index) {
    static_cast<void>(memory_.store_release<uint16_t>(used_at(kFlags), kUsedNoNotify));
  }
}

bool SplitQueue::enable_notifications() {
  if (options_.has_event_index) {
    const GuestAddress available_event = used_at(kRing + kUsedEntryBytes * layout_.size);
    static_cast<void>(memory_.store_release<uint16_t>(available_event, state_.next_available));
  } else {
    static_cast<void>(memory_.store_release<uint16_t>(used_at(kFlags), 0));
  }
  // Section 2.7.10: the wish must be visible before the ring is looked at again.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return has_waiting();
}

bool SplitQueue::has_waiting() const {
  return !state_.is_broken && load_available(kIndex) != state_.next_available;
}

}  // namespace vmm::virtio
