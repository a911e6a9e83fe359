// VirtioBlock: the virtio block device (virtio 1.2, section 5.2) over a BlockDevice.
//
// Threads: as VirtioDevice; the disk belongs to the same EventLoop.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "block/disk_counters.h"
#include "devices/virtio/device.h"

namespace vmm::virtio {

class VirtioBlock final : public VirtioDevice {
 public:
  static constexpr size_t kSerialBytes = 20;

  // What drivers may tell old systems of the disk; nothing here is addressed by it.
  struct Geometry {
    uint16_t cylinders = 0;
    uint8_t heads = 0;
    uint8_t sectors_per_track = 0;
  };
  struct Options {
    std::string name = "disk";  // for the log
    std::string serial{};       // what get-id answers; at most kSerialBytes are used
    uint16_t queue_count = 1;   // more than 1 offers VIRTIO_BLK_F_MQ
    uint16_t queue_size = 256;  // a power of two, 4 to 1024
    bool is_cache_unsafe =
        false;  // cache='unsafe': FLUSH is not offered, nothing is ever forced to the medium
    bool has_write_cache = true;  // the writeback bit as the driver finds it; false for cache='writethrough'
                                  // and 'directsync'
    bool offers_discard = true;   // where the disk can do it
    bool offers_event_index = true;
    // What the driver is told instead of the disk's own sizes; 0: the disk's own. Powers of two, at least
    // 512.
    uint32_t logical_block_bytes = 0;
    uint32_t physical_block_bytes = 0;
    std::optional<Geometry> geometry = std::nullopt;  // present: VIRTIO_BLK_F_GEOMETRY is offered
    block::DiskCounters* counters = nullptr;          // null: nobody counts; else they outlive the device
  };
  // What a saved machine must hold, beside queues and registers.
  struct State {
    bool is_writeback = true;
  };

  VirtioBlock(block::BlockDevice& disk, Options options);

  std::string_view name() const override { return options_.name; }
  uint32_t device_id() const override { return 2; }
  uint32_t pci_class_code() const override { return 0x01'00'00; }
  uint64_t features() const override { return features_; }
  uint64_t withheld_features() const override {
    return options_.offers_event_index ? 0 : feature_mask(Feature::kEventIndex);
  }
  uint16_t queue_count() const override { return options_.queue_count; }
  uint16_t queue_size_max() const override { return options_.queue_size; }
  void read_config(uint32_t offset, std::span<std::byte> data) const override;
  void write_config(uint32_t offset, std::span<const std::byte> data) override;
  void reset_config() override { is_writeback_ = options_.has_write_cache; }

  void start(ChainReturn& chains, uint64_t features, std::span<const uint16_t> queue_sizes) override;
  bool can_accept(uint16_t /*queue*/) const override { return disk_.can_accept(); }
  Handled handle(uint16_t queue, Chain& chain) override;
  void abandon() override;

  State state() const { return {.is_writeback = is_writeback_}; }

 private:
  // One range of a discard or write-zeroes request.
  struct Range {
    block::DiskOffset offset;
    uint64_t length_bytes = 0;
    bool may_unmap = false;
  };
  // One request in flight. There is one slot for each head of each queue: no allocation per request.
  struct Slot {
    iovec status{};
    uint32_t data_bytes = 0;  // written into the chain where it succeeds
    block::BlockOp op = block::BlockOp::kRead;
    std::vector<Range> ranges;  // discard, write-zeroes
    size_t next_range = 0;
    uint64_t begun_ns = 0;     // since then the disk is at it
    uint64_t moved_bytes = 0;  // or changed
    uint64_t write_end = 0;
  };
  enum class Answer : uint8_t { kOk = 0, kIoError = 1, kUnsupported = 2 };

  // These give the answer, or nothing where it comes with a completion.
  std::optional<Answer> begin(uint16_t queue, Chain& chain, Slot& slot);
  std::optional<Answer> transfer(uint16_t queue, Chain& chain, Slot& slot, uint64_t sector, bool is_write);
  std::optional<Answer> flush(uint16_t queue, Chain& chain, Slot& slot);
  std::optional<Answer> change_ranges(uint16_t queue, Chain& chain, Slot& slot, bool is_discard);
  Answer get_id(Chain& chain, Slot& slot) const;
  std::optional<Answer> parse_ranges(Chain& chain, Slot& slot, bool is_discard) const;
  void count_begin(Slot& slot, uint64_t bytes, uint64_t write_end) const;
  void count_end(const Slot& slot, bool has_failed) const;
  void count_invalid(block::DiskCounters::Kind kind) const;
  void submit_range(uint16_t queue, uint16_t head, Slot& slot);
  void finish(uint16_t queue, uint16_t head, Slot& slot, Answer answer);
  void completed(uint64_t cookie, block::IoStatus status);
  block::Completion completion(uint16_t queue, uint16_t head);
  bool must_write_through() const;
  bool has(uint8_t feature) const { return (negotiated_ & feature_mask(feature)) != 0; }

  block::BlockDevice& disk_;
  const Options options_;
  const uint64_t features_;
  std::atomic<bool> is_writeback_;

  // The I/O thread only.
  ChainReturn* chains_ = nullptr;
  uint64_t negotiated_ = 0;
  uint32_t generation_ = 0;
  bool is_abandoned_ = false;
  std::vector<std::vector<Slot>> slots_;  // by queue, by head
};

}  // namespace vmm::virtio
