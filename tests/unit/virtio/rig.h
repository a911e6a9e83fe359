// A virtio disk in a small world, and the guest that drives it. All on one thread: turn() is the I/O
// thread's.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "devices/pci/assign_resources.h"
#include "devices/pci/pci_bus.h"
#include "devices/virtio/block.h"
#include "devices/virtio/mmio.h"
#include "devices/virtio/pci.h"
#include "tests/unit/fakes/fake_block_device.h"
#include "tests/unit/fakes/fake_doorbells.h"
#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/fakes/fake_virtio_driver.h"
#include "tests/unit/fakes/fake_virtqueue.h"
#include "tests/unit/fakes/guest_ram.h"
#include "vmm/base/event_loop.h"

namespace vmm::virtio {

inline constexpr uint64_t kDiskBytes = uint64_t{1} << 20;
inline constexpr uint64_t kQueueBase = 0x1'0000;  // queue q at + q * kQueueStride
inline constexpr uint64_t kQueueStride = 0x1'0000;
inline constexpr uint64_t kHeaders = 0x20'0000;  // 16 bytes for each head
inline constexpr uint64_t kStatuses = 0x21'0000;
inline constexpr uint64_t kData = 0x30'0000;  // 64 KiB for each head
inline constexpr uint64_t kDataStride = 0x1'0000;
inline constexpr uint64_t kNoRam = 0x9000'0000;
inline constexpr uint8_t kNotWritten = 0xee;

inline constexpr uint64_t kVersion1 = uint64_t{1} << 32;
inline constexpr uint64_t kIndirect = uint64_t{1} << 28;
inline constexpr uint64_t kEventIndex = uint64_t{1} << 29;
inline constexpr uint64_t kFlush = 1U << 9;
inline constexpr uint64_t kConfigWce = 1U << 11;
inline constexpr uint64_t kMultiQueue = 1U << 12;
inline constexpr uint64_t kDiscard = 1U << 13;
inline constexpr uint64_t kWriteZeroes = 1U << 14;
inline constexpr uint64_t kUsualFeatures =
    kVersion1 | kIndirect | kFlush | kConfigWce | kDiscard | kWriteZeroes;

inline constexpr uint8_t kOk = 0;
inline constexpr uint8_t kIoError = 1;
inline constexpr uint8_t kUnsupported = 2;

inline constexpr uint32_t kIn = 0;
inline constexpr uint32_t kOut = 1;
inline constexpr uint32_t kFlushRequest = 4;
inline constexpr uint32_t kGetId = 8;
inline constexpr uint32_t kDiscardRequest = 11;
inline constexpr uint32_t kWriteZeroesRequest = 13;

using Heads = std::vector<uint16_t>;

enum class Transport : uint8_t { kPci, kMmio };

struct RigOptions {
  Transport transport = Transport::kPci;
  VirtioBlock::Options block{};
  bool is_read_only = false;
  std::optional<block::BlockLimits> limits{};
};

class Rig {
 public:
  static constexpr pci::PciAddress kSlot{.slot = 3, .function = 0};
  static constexpr uint64_t kMmioBase = layout::kVirtioMmioStart;

  explicit Rig(RigOptions options = {}) {
    disk.set_read_only(options.is_read_only);
    if (options.limits) {
      disk.set_limits(*options.limits);
    }
    if (options.block.serial.empty()) {
      options.block.serial = "serial-0123";
    }
    device = std::make_unique<VirtioBlock>(disk, options.block);
    if (options.transport == Transport::kPci) {
      make_pci();
    } else {
      make_mmio();
    }
    for (uint16_t q = 0; q < options.block.queue_count; ++q) {
      queues.emplace_back(memory, kQueueBase + q * kQueueStride, options.block.queue_size);
    }
  }

  std::vector<QueueLayout> layouts() const {
    std::vector<QueueLayout> all;
    for (const FakeVirtqueue& queue : queues) {
      all.push_back(queue.layout());
    }
    return all;
  }
  void start(uint64_t features = kUsualFeatures) {
    driver->bring_up(features, layouts());
    turn();
  }
  // Enough turns of the loop that nothing is left to do.
  void turn() const {
    for (int i = 0; i < 6; ++i) {
      loop->run_once(std::chrono::nanoseconds(0));
    }
  }
  VirtioCore& core() const { return pci_device ? pci_device->core() : mmio_device->core(); }

  // --- Requests ---

  static FakeBuffer header_of(uint16_t head) { return {kHeaders + 16U * head, 16, false}; }
  static FakeBuffer status_of(uint16_t head) { return {kStatuses + head, 1, true}; }
  static uint64_t data_of(uint16_t head) { return kData + kDataStride * head; }

  void write_header(uint16_t head, uint32_t type, uint64_t sector) const {
    std::array<std::byte, 16> bytes{};
    store_le<uint32_t>(&bytes[0], type);
    store_le<uint64_t>(&bytes[8], sector);
    VMM_CHECK(memory.write_bytes(GuestAddress(kHeaders + 16U * head), bytes), "not in test memory");
    set_byte(kStatuses + head, kNotWritten);
  }
  // Adds header, the given buffers and a status byte as one chain beginning at descriptor `head`.
  void add(uint16_t head, uint32_t type, uint64_t sector, std::vector<FakeBuffer> data = {},
           uint16_t queue = 0) {
    write_header(head, type, sector);
    data.insert(data.begin(), header_of(head));
    data.push_back(status_of(head));
    queues[queue].add(head, data);
  }
  // The same, then kicks and lets the device work; the status byte.
  uint8_t run(uint16_t head, uint32_t type, uint64_t sector, std::vector<FakeBuffer> data = {}) {
    add(head, type, sector, std::move(data));
    kick();
    return status(head);
  }
  void kick(uint16_t queue = 0) const {
    driver->notify(queue);
    turn();
  }
  uint8_t status(uint16_t head) const { return byte(kStatuses + head); }

  uint8_t byte(uint64_t address) const { return *memory.read<uint8_t>(GuestAddress(address)); }
  void set_byte(uint64_t address, uint8_t value) const {
    VMM_CHECK(memory.write<uint8_t>(GuestAddress(address), value), "not in test memory");
  }
  void fill(uint64_t address, uint64_t length, uint8_t value) const {
    VMM_CHECK(memory.fill(GuestAddress(address), length, static_cast<std::byte>(value)),
              "not in test memory");
  }
  void fill_disk(uint64_t offset, uint64_t length, uint8_t value) {
    std::ranges::fill(disk.bytes().subspan(offset, length), static_cast<std::byte>(value));
  }
  uint8_t disk_byte(uint64_t offset) { return std::to_integer<uint8_t>(disk.bytes()[offset]); }

  // --- The world, in the order in which it must go away ---

  std::unique_ptr<EventLoop> loop = *EventLoop::create();
  GuestMemory memory = make_guest_ram({{0, 8U << 20}, {uint64_t{1} << 32, 1U << 20}});
  IoBus ports;
  IoBus mmio_bus;
  FakeDoorbells doorbells;
  FakeMsiSink msi;
  FakeLine line;
  FakeMmio mmio{mmio_bus, doorbells};
  block::FakeBlockDevice disk{kDiskBytes};
  std::unique_ptr<VirtioBlock> device;
  pci::PciBus bus{ports, mmio_bus, nullptr};
  std::unique_ptr<VirtioPci> pci_device;
  std::unique_ptr<VirtioMmio> mmio_device;
  std::unique_ptr<FakeVirtioDriver> driver;
  FakePciDriver* pci_driver = nullptr;
  std::vector<FakeVirtqueue> queues;

 private:
  void make_pci() {
    pci_device = *VirtioPci::create(
        *device, {.loop = *loop, .memory = memory, .doorbells = doorbells, .msi = msi, .intx = line});
    VMM_CHECK(bus.attach(kSlot, *pci_device).has_value(), "slot taken");
    VMM_CHECK(pci::assign_resources(bus).has_value(), "no room");
    auto made = std::make_unique<FakePciDriver>(bus, kSlot, mmio);
    pci_driver = made.get();
    driver = std::move(made);
  }
  void make_mmio() {
    mmio_device = *VirtioMmio::create(*device, {.loop = *loop,
                                                .memory = memory,
                                                .doorbells = doorbells,
                                                .line = line,
                                                .address = GuestAddress(kMmioBase)});
    VMM_CHECK(mmio_bus.add(kMmioBase, VirtioMmio::kLengthBytes, *mmio_device).has_value(), "taken");
    driver = std::make_unique<FakeMmioDriver>(kMmioBase, mmio);
  }
};

}  // namespace vmm::virtio
