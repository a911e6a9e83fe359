// The driver's side of a split virtqueue in guest memory: what a guest would write, honest or not.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include "devices/virtio/split_queue.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"
#include "vmm/core/guest_memory.h"

namespace vmm::virtio {

inline constexpr uint16_t kDescNext = 1;
inline constexpr uint16_t kDescWrite = 2;
inline constexpr uint16_t kDescIndirect = 4;

struct FakeDescriptor {
  uint64_t address = 0;
  uint32_t length = 0;
  uint16_t flags = 0;
  uint16_t next = 0;
};

struct FakeBuffer {
  uint64_t address = 0;
  uint32_t length = 0;
  bool is_writable = false;
};

class FakeVirtqueue {
 public:
  struct Used {
    uint32_t id = 0;
    uint32_t length = 0;
    friend bool operator==(const Used&, const Used&) = default;
  };

  // The three areas lie one after the other from `base` (a multiple of 4096).
  FakeVirtqueue(const GuestMemory& memory, uint64_t base, uint16_t size)
      : memory_(&memory),
        layout_{.size = size,
                .descriptors = GuestAddress(base),
                .available = GuestAddress(base + uint64_t{16} * size),
                .used = GuestAddress(align_up(base + uint64_t{16} * size + 6 + uint64_t{2} * size, 4))} {}

  const QueueLayout& layout() const { return layout_; }
  uint16_t size() const { return layout_.size; }

  // --- Raw ---

  void write_descriptor(uint64_t table, uint32_t index, const FakeDescriptor& descriptor) const {
    std::array<std::byte, 16> bytes{};
    store_le<uint64_t>(&bytes[0], descriptor.address);
    store_le<uint32_t>(&bytes[8], descriptor.length);
    store_le<uint16_t>(&bytes[12], descriptor.flags);
    store_le<uint16_t>(&bytes[14], descriptor.next);
    VMM_CHECK(memory_->write_bytes(GuestAddress(table + uint64_t{16} * index), bytes), "not in test memory");
  }
  void set_descriptor(uint16_t index, const FakeDescriptor& descriptor) const {
    write_descriptor(layout_.descriptors.value(), index, descriptor);
  }
  void set_available_ring(uint16_t slot, uint16_t head) const {
    store(layout_.available, 4 + uint64_t{2} * slot, head);
  }
  void set_available_index(uint16_t index) {
    available_ = index;
    store(layout_.available, 2, index);
  }
  uint16_t available_index() const { return available_; }
  // The driver begins at another index than 0, as after many requests; the device must be told too.
  void jump_to(uint16_t index) {
    set_available_index(index);
    seen_used_ = index;
  }
  void set_available_flags(uint16_t flags) const { store(layout_.available, 0, flags); }
  void set_used_event(uint16_t value) const {
    store(layout_.available, 4 + uint64_t{2} * layout_.size, value);
  }
  uint16_t available_event() const { return load(layout_.used, 4 + uint64_t{8} * layout_.size); }
  uint16_t used_flags() const { return load(layout_.used, 0); }
  uint16_t used_index() const { return load(layout_.used, 2); }

  // --- As an honest driver does it ---

  // Writes the chain into the descriptors first, first + 1, … and makes it available; returns the head.
  uint16_t add(uint16_t first, std::span<const FakeBuffer> buffers) {
    write_chain(layout_.descriptors.value(), first, buffers);
    make_available(first);
    return first;
  }
  uint16_t add(uint16_t first, std::initializer_list<FakeBuffer> buffers) {
    return add(first, std::span(buffers.begin(), buffers.size()));
  }
  uint16_t add_indirect(uint16_t head, uint64_t table, std::span<const FakeBuffer> buffers) {
    write_chain(table, 0, buffers);
    set_descriptor(head, {table, static_cast<uint32_t>(16 * buffers.size()), kDescIndirect, 0});
    make_available(head);
    return head;
  }
  void write_chain(uint64_t table, uint16_t first, std::span<const FakeBuffer> buffers) const {
    for (size_t i = 0; i < buffers.size(); ++i) {
      const bool is_last = i + 1 == buffers.size();
      const auto flags =
          static_cast<uint16_t>((buffers[i].is_writable ? kDescWrite : 0) | (is_last ? 0 : kDescNext));
      const auto index = static_cast<uint16_t>(first + i);
      write_descriptor(table, index,
                       {buffers[i].address, buffers[i].length, flags, static_cast<uint16_t>(index + 1)});
    }
  }
  void make_available(uint16_t head) {
    set_available_ring(static_cast<uint16_t>(available_ % layout_.size), head);
    set_available_index(static_cast<uint16_t>(available_ + 1));
  }

  // The next used element, or nothing.
  std::optional<Used> take_used() {
    if (used_index() == seen_used_) {
      return std::nullopt;
    }
    const uint64_t place = layout_.used.value() + 4 + uint64_t{8} * (seen_used_ % layout_.size);
    ++seen_used_;
    return Used{.id = memory_->read<uint32_t>(GuestAddress(place)).value_or(~0U),
                .length = memory_->read<uint32_t>(GuestAddress(place + 4)).value_or(~0U)};
  }
  std::vector<Used> take_all_used() {
    std::vector<Used> all;
    while (const auto used = take_used()) {
      all.push_back(*used);
    }
    return all;
  }
  // After new requests: whether the device wants to hear of those added since avail index `before`.
  bool must_notify(uint16_t before, bool has_event_index) const {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!has_event_index) {
      return (used_flags() & 1) == 0;
    }
    const auto since_event = static_cast<uint16_t>(available_ - available_event() - 1);
    return since_event < static_cast<uint16_t>(available_ - before);
  }

 private:
  void store(GuestAddress area, uint64_t offset, uint16_t value) const {
    VMM_CHECK(memory_->store_release<uint16_t>(GuestAddress(area.value() + offset), value),
              "not in test memory");
  }
  uint16_t load(GuestAddress area, uint64_t offset) const {
    return memory_->load_acquire<uint16_t>(GuestAddress(area.value() + offset)).value_or(0);
  }

  const GuestMemory* memory_;
  QueueLayout layout_;
  uint16_t available_ = 0;
  uint16_t seen_used_ = 0;
};

}  // namespace vmm::virtio
