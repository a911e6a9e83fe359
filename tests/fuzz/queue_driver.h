// The driver's side of a virtio device that has no configuration to be written: it writes what it likes into
// memory and publishes what it likes. Each request is answered once, with no more bytes than it had room for.
//
// Input of step(): one byte says what is done and to which queue, then what that needs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "devices/virtio/device.h"
#include "devices/virtio/split_queue.h"
#include "tests/fuzz/guarded_ram.h"
#include "tests/fuzz/input.h"
#include "vmm/base/check.h"

namespace vmm::virtio::fuzzing {

inline constexpr uint64_t kLowBytes = 64 << 10;
inline constexpr uint64_t kHighStart = 1 << 20;
inline constexpr uint64_t kHighBytes = 8 << 10;
inline constexpr uint16_t kQueueSize = 8;
inline constexpr uint64_t kQueueStride = 0x1000;
inline constexpr uint64_t kAvailableOffset = 0x400;
inline constexpr uint64_t kUsedOffset = 0x800;

inline const fuzz::GuardedRam& ram() {
  static const fuzz::GuardedRam ram({{0, kLowBytes}, {kHighStart, kHighBytes}});
  return ram;
}

class QueueDriver final : private ChainReturn {
 public:
  struct Options {
    bool has_configuration = false;
    bool may_refuse = false;      // a request without a place for its answer
    bool picks_features = false;  // else all, or none
  };

  QueueDriver(fuzz::Input& input, VirtioDevice& device, const Options& options)
      : input_(input), device_(device), options_(options) {
    start();
  }
  QueueDriver(fuzz::Input& input, VirtioDevice& device) : QueueDriver(input, device, Options{}) {}

  void step(uint8_t operation) {
    const auto queue = static_cast<uint16_t>(operation / 8 % device_.queue_count());
    switch (operation % 8) {
      case 0:
        return read_config();
      case 1:
      case 2:
        return scribble();
      case 3:
      case 4:
        return write_descriptor(queue);
      case 5:
        return operation >= 0xf0 ? restart() : publish(queue);
      default:
        return publish(queue);
    }
  }

  // The device takes what it can.
  void serve() {
    for (uint16_t i = 0; i < device_.queue_count(); ++i) {
      serve(i);
    }
  }

  // Nothing more is asked for: what is taken comes back.
  void stop() {
    device_.let_go();
    VMM_CHECK(in_flight_ == 0, "a device that was stopped keeps a request");
  }

 private:
  void start() {
    rings_.clear();
    published_.assign(device_.queue_count(), 0);
    for (uint16_t i = 0; i < device_.queue_count(); ++i) {
      const uint64_t base = i * kQueueStride;
      const QueueLayout layout{.size = kQueueSize,
                               .descriptors = GuestAddress(base),
                               .available = GuestAddress(base + kAvailableOffset),
                               .used = GuestAddress(base + kUsedOffset)};
      rings_.push_back(std::make_unique<SplitQueue>(
          memory_, layout, SplitQueue::Options{.has_indirect = true, .has_event_index = input_.chance()}));
    }
    const std::vector<uint16_t> sizes(rings_.size(), kQueueSize);
    rooms_.assign(rings_.size(), {});
    const uint64_t features = options_.picks_features ? input_.take<uint32_t>()
                              : input_.chance()       ? ~uint64_t{0}
                                                      : 0;
    device_.start(*this, features, sizes);
  }

  void restart() {
    is_abandoned_ = true;
    device_.abandon();
    VMM_CHECK(in_flight_ == 0, "a request outlived the reset");
    is_abandoned_ = false;
    start();
  }

  // Outside of memory it does nothing.
  void write(uint64_t address, std::span<const std::byte> bytes) const {
    static_cast<void>(memory_.write_bytes(GuestAddress(address), bytes));
  }

  void read_config() {
    std::array<std::byte, 8> bytes{};
    bytes.fill(std::byte{0xee});
    const uint32_t offset = input_.take<uint8_t>();
    device_.write_config(offset, input_.take_bytes(input_.below(bytes.size())));
    device_.read_config(offset, bytes);
    VMM_CHECK(options_.has_configuration || bytes == decltype(bytes){}, "there is no configuration");
  }

  void scribble() {
    const auto address = input_.take<uint16_t>();
    write(address, input_.take_bytes(input_.take<uint8_t>()));
  }

  void write_descriptor(uint16_t queue) {
    std::array<std::byte, 16> bytes{};
    const uint64_t index = input_.below(kQueueSize);
    store_le<uint64_t>(&bytes[0], input_.take<uint32_t>());
    store_le<uint32_t>(&bytes[8], input_.take<uint32_t>());
    store_le<uint16_t>(&bytes[12], input_.take<uint8_t>() & 7);
    store_le<uint16_t>(&bytes[14], input_.below(kQueueSize));
    write(queue * kQueueStride + index * bytes.size(), bytes);
  }

  void publish(uint16_t queue) {
    std::array<std::byte, 2> bytes{};
    const uint64_t available = queue * kQueueStride + kAvailableOffset;
    store_le<uint16_t>(bytes.data(), input_.below(kQueueSize));
    write(available + 4 + uint64_t{2} * (published_[queue] % kQueueSize), bytes);
    store_le<uint16_t>(bytes.data(), ++published_[queue]);
    write(available + 2, bytes);
    serve(queue);
  }

  void serve(uint16_t queue) {
    SplitQueue& ring = *rings_[queue];
    for (int budget = kQueueSize; budget > 0 && device_.can_accept(queue); --budget) {
      if (ring.pop() != SplitQueue::Pop::kChain) {
        break;
      }
      ++in_flight_;
      rooms_[queue][ring.popped().head] = ring.popped().writable.size();
      if (device_.handle(queue, ring.popped()) != VirtioDevice::Handled::kTaken) {
        VMM_CHECK(options_.may_refuse, "a request was refused");
        --in_flight_;
        ring.mark_broken("refused");
      }
    }
    static_cast<void>(ring.publish());
  }

  void give_back(uint16_t queue, uint16_t head, uint32_t written_bytes) override {
    VMM_CHECK(in_flight_ > 0, "a request is answered once");
    --in_flight_;
    if (!is_abandoned_) {
      VMM_CHECK(written_bytes <= rooms_[queue][head], "more was written than there is room for");
      rings_[queue]->add_used(head, written_bytes);
    }
  }

  void put_back(uint16_t queue, uint16_t head) override {
    VMM_CHECK(in_flight_ > 0 && !is_abandoned_, "a request is put back while it is taken");
    --in_flight_;
    rings_[queue]->put_back(head);
  }

  fuzz::Input& input_;
  VirtioDevice& device_;
  const Options options_;
  const GuestMemory& memory_ = ram().memory();
  std::vector<std::unique_ptr<SplitQueue>> rings_;
  std::vector<uint16_t> published_;
  std::vector<std::array<uint64_t, kQueueSize>> rooms_;  // of the requests that are taken, by their heads
  int in_flight_ = 0;
  bool is_abandoned_ = false;
};

}  // namespace vmm::virtio::fuzzing
