// VirtioDevice: what a kind of device (block, …) is, apart from queues, registers and transport.
//
// Threads: what is marked "any thread" is called by vCPU threads; the rest on the I/O thread of the device's
// EventLoop only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "devices/virtio/split_queue.h"
#include "vmm/core/ring_host.h"

namespace vmm::virtio {

// Feature bits, by number (virtio 1.2, chapter 6).
enum class Feature : uint8_t {
  kIndirectDescriptors = 28,
  kEventIndex = 29,
  kVersion1 = 32,
};

constexpr uint64_t feature_mask(uint8_t number) { return uint64_t{1} << number; }
constexpr uint64_t feature_mask(Feature feature) { return feature_mask(static_cast<uint8_t>(feature)); }

// Where a device gives chains back.
class ChainReturn {
 public:
  // written_bytes: into the writable half of the chain, status included. The driver sees it at the end of the
  // loop's turn. Each chain taken comes back exactly once.
  virtual void give_back(uint16_t queue, uint16_t head, uint32_t written_bytes) = 0;
  // Instead: the chain is in the ring again, as if it had not been taken. REQUIRES: of the chains of this
  // queue that are taken, it is the one that was taken last.
  virtual void put_back(uint16_t queue, uint16_t head) = 0;
  // is_to_be_hosted() has another answer; it is asked at the end of the turn.
  virtual void hosting_changed() {}

 protected:
  ~ChainReturn() = default;
};

class VirtioDevice {
 public:
  virtual ~VirtioDevice() = default;

  // Any thread; constant.
  virtual std::string_view name() const = 0;  // for the log
  virtual uint32_t device_id() const = 0;     // section 5
  virtual uint32_t pci_class_code() const = 0;
  virtual uint64_t features() const = 0;  // device-specific bits
  // Bits that every device of ours offers (ring features), and this one does not.
  virtual uint64_t withheld_features() const { return 0; }
  virtual uint16_t queue_count() const = 0;
  virtual uint16_t queue_size_max() const = 0;  // a power of two, at most kQueueSizeLimit

  // Any thread. The device-specific configuration; accesses beyond its end read as zero and write nothing.
  virtual void read_config(uint32_t offset, std::span<std::byte> data) const = 0;
  virtual void write_config(uint32_t offset, std::span<const std::byte> data) = 0;
  virtual void reset_config() = 0;

  // The driver has set DRIVER_OK with these features; queue q has queue_sizes[q] entries, 0 where it is
  // unused.
  virtual void start(ChainReturn& chains, uint64_t features, std::span<const uint16_t> queue_sizes) = 0;
  // No: requests stay in the ring of this queue, and it is asked again at each turn of the loop. Who can do
  // more by something else than giving back (time, input from the host) makes the loop turn.
  virtual bool can_accept(uint16_t queue) const = 0;

  enum class Handled : uint8_t {
    kTaken,         // it is, or will be, given back
    kNowhereToSay,  // the chain has no place for an answer: the queue is broken
  };
  virtual Handled handle(uint16_t queue, Chain& chain) = 0;

  // The driver has reset the device: what is in flight is to be given back without touching guest memory.
  // Its start() comes after the last of it.
  virtual void abandon() = 0;

  // Nothing is taken from now on, until requests are handled again. What waits for something that may never
  // come (a reader of output) is to be given back now; what the host is at work for comes back by itself.
  virtual void let_go() {}

  // Who may serve queues of it in its place; constant. Null: nobody.
  virtual RingHost* ring_host() { return nullptr; }
  // Whether that one is to serve this queue. A device that says so has nothing in flight there after
  // let_go().
  virtual bool is_to_be_hosted(uint16_t /*queue*/) const { return false; }
};

}  // namespace vmm::virtio
