// A virtio 1.2 driver's side: both transports, split virtqueues, and block requests. Works in ring 3.
//
// Fields are open: programs that test a device must be able to do it wrong.
#pragma once

#include <cstdint>

#include "tests/guests/runtime/pci.h"

namespace guest {

inline constexpr uint16_t kVirtioBlock = 2;

// Device status (virtio 1.2, 2.1).
inline constexpr uint8_t kAcknowledge = 1;
inline constexpr uint8_t kDriver = 2;
inline constexpr uint8_t kDriverOk = 4;
inline constexpr uint8_t kFeaturesOk = 8;
inline constexpr uint8_t kNeedsReset = 64;

// Features (virtio 1.2, 5.2.3 and 6), as masks.
inline constexpr uint64_t kBlkSegMax = 1ULL << 2;
inline constexpr uint64_t kBlkGeometry = 1ULL << 4;
inline constexpr uint64_t kBlkReadOnly = 1ULL << 5;
inline constexpr uint64_t kBlkBlockSize = 1ULL << 6;
inline constexpr uint64_t kBlkFlush = 1ULL << 9;
inline constexpr uint64_t kBlkTopology = 1ULL << 10;
inline constexpr uint64_t kBlkConfigWce = 1ULL << 11;
inline constexpr uint64_t kBlkMultiQueue = 1ULL << 12;
inline constexpr uint64_t kBlkDiscard = 1ULL << 13;
inline constexpr uint64_t kBlkWriteZeroes = 1ULL << 14;
inline constexpr uint64_t kIndirect = 1ULL << 28;
inline constexpr uint64_t kEventIndex = 1ULL << 29;
inline constexpr uint64_t kVersion1 = 1ULL << 32;

// Descriptor flags (2.7.5) and ring flags (2.7.6, 2.7.8).
inline constexpr uint16_t kNext = 1;
inline constexpr uint16_t kWrite = 2;
inline constexpr uint16_t kIndirectTable = 4;
inline constexpr uint16_t kNoInterrupt = 1;
inline constexpr uint16_t kNoNotify = 1;

inline constexpr uint16_t kNoVector = 0xffff;

struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};

struct UsedElement {
  uint32_t id;
  uint32_t length;
};

inline constexpr uint16_t kLargestQueue = 1024;

// One split virtqueue. The rings are in memory of its own, so the object is large: make it static.
struct VirtQueue {
  alignas(4096) Descriptor descriptors[kLargestQueue];
  alignas(4096) volatile uint16_t available[kLargestQueue + 3];  // flags, idx, ring, used_event
  alignas(4096) volatile uint32_t used[kLargestQueue * 2 + 2];   // flags and idx, elements, avail_event
  uint16_t size;
  uint16_t next_available;  // what idx becomes with publish()
  uint16_t published;
  uint16_t next_used;
  bool event_index;

  void initialise(uint16_t queue_size, bool use_event_index);
  void offer(uint16_t head) {
    available[2 + next_available % size] = head;
    next_available++;
  }
  void publish();
  // After publish(): whether the device wants to be told (2.7.10).
  [[nodiscard]] bool wants_notification(uint16_t published_before) const;
  [[nodiscard]] uint16_t used_index() const { return static_cast<uint16_t>(used[0] >> 16); }
  // False: nothing new.
  bool take_used(UsedElement& element);
  void suppress_interrupts();
  void want_interrupt();  // for the next used buffer
};

class VirtioDevice {
 public:
  // The n-th one of this type, on PCI first, then on MMIO. It is left reset.
  bool find(uint16_t type, uint32_t nth = 0);

  [[nodiscard]] bool is_pci() const { return is_pci_; }
  [[nodiscard]] PciAddress pci() const { return pci_; }
  [[nodiscard]] uint64_t mmio() const { return common_; }

  [[nodiscard]] uint8_t status() const;
  void set_status(uint8_t status) const;
  bool reset() const;  // false: status did not become 0
  [[nodiscard]] uint64_t device_features() const;
  void set_driver_features(uint64_t features) const;
  // Reset up to FEATURES_OK, with those of `wanted` that are offered. False: refused.
  bool negotiate(uint64_t wanted);
  [[nodiscard]] uint64_t features() const { return features_; }
  void start() const { set_status(kAcknowledge | kDriver | kFeaturesOk | kDriverOk); }

  [[nodiscard]] uint16_t queue_maximum(uint16_t index) const;  // 0: no such queue
  bool enable_queue(uint16_t index, VirtQueue& queue, uint16_t vector = kNoVector);
  void set_queue(uint16_t index, uint16_t size, uint64_t descriptors, uint64_t available,
                 uint64_t used) const;
  [[nodiscard]] bool queue_enabled(uint16_t index) const;
  void select_queue(uint16_t index) const;
  void notify(uint16_t index) const;
  // Publishes what was offered, and rings the doorbell where the device asks for it.
  void submit(uint16_t index, VirtQueue& queue) const;

  uint8_t interrupt_status() const;  // reading acknowledges, on both transports
  [[nodiscard]] uint64_t config(uint32_t offset, uint32_t size) const;
  void set_config8(uint32_t offset, uint8_t value) const;

  // PCI: where the parts of the device are.
  uint64_t common_ = 0;  // MMIO: the register block
  uint64_t notify_base_ = 0;
  uint32_t notify_multiplier_ = 0;
  uint64_t isr_ = 0;
  uint64_t config_ = 0;
  uint64_t notify_address_[16] = {};

 private:
  bool find_on_pci(uint16_t type, uint32_t& nth);
  bool find_on_mmio(uint16_t type, uint32_t& nth);
  bool read_capabilities();

  bool is_pci_ = false;
  PciAddress pci_ = {};
  uint64_t features_ = 0;
};

// Block requests (5.2.6).
inline constexpr uint32_t kBlkIn = 0;
inline constexpr uint32_t kBlkOut = 1;
inline constexpr uint32_t kBlkFlushRequest = 4;
inline constexpr uint32_t kBlkGetId = 8;
inline constexpr uint32_t kBlkDiscardRequest = 11;
inline constexpr uint32_t kBlkWriteZeroesRequest = 13;
inline constexpr uint8_t kBlkOk = 0;
inline constexpr uint8_t kBlkIoError = 1;
inline constexpr uint8_t kBlkUnsupported = 2;
inline constexpr uint32_t kSectorSize = 512;

struct BlockHeader {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};
struct BlockRange {  // of discard and write-zeroes
  uint64_t sector;
  uint32_t sectors;
  uint32_t flags;
};

// One device with one queue, one request at a time.
class BlockDriver {
 public:
  // Interrupts are suppressed. False: says why with fail().
  bool start(VirtioDevice& device, VirtQueue& queue, uint64_t features, uint16_t queue_size = 64);
  // The status byte; kTimeout, where the device does not answer; kSpoiled, where what it answers is not a
  // completion.
  static constexpr uint8_t kTimeout = 0xfe;
  static constexpr uint8_t kSpoiled = 0xfd;
  uint8_t request(uint32_t type, uint64_t sector, void* data, uint32_t length);
  // A chain that is laid down already.
  uint8_t run_chain(uint16_t head, const volatile uint8_t& status);
  [[nodiscard]] uint32_t used_length() const { return used_length_; }

  VirtioDevice* device = nullptr;
  VirtQueue* queue = nullptr;

 private:
  uint32_t used_length_ = 0;
};

}  // namespace guest
