// A virtio device in a small world, on PCI or MMIO, and the guest that drives it. All on one thread: turn()
// is the I/O thread's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/unit/virtio/rig.h"

namespace vmm::virtio {

class SmallDeviceRig {
 public:
  SmallDeviceRig(VirtioDevice& device, Transport transport, EventLoop& loop) : loop_(loop) {
    if (transport == Transport::kPci) {
      pci_ = *VirtioPci::create(
          device, {.loop = loop, .memory = memory, .doorbells = doorbells_, .msi = msi_, .intx = line_});
      VMM_CHECK(bus_.attach(Rig::kSlot, *pci_).has_value(), "slot taken");
      VMM_CHECK(pci::assign_resources(bus_).has_value(), "no room");
      driver = std::make_unique<FakePciDriver>(bus_, Rig::kSlot, mmio_);
    } else {
      mmio_device_ = *VirtioMmio::create(device, {.loop = loop,
                                                  .memory = memory,
                                                  .doorbells = doorbells_,
                                                  .line = line_,
                                                  .address = GuestAddress(Rig::kMmioBase)});
      VMM_CHECK(mmio_bus_.add(Rig::kMmioBase, VirtioMmio::kLengthBytes, *mmio_device_).has_value(), "taken");
      driver = std::make_unique<FakeMmioDriver>(Rig::kMmioBase, mmio_);
    }
    make_queues(device);
  }

  void start(uint64_t features = kVersion1) {
    std::vector<QueueLayout> layouts;
    layouts.reserve(queues.size());
    for (const FakeVirtqueue& queue : queues) {
      layouts.push_back(queue.layout());
    }
    driver->bring_up(features, layouts);
    turn();
  }
  // As a driver that is loaded again: with empty queues.
  void restart() {
    driver->set_status(0);
    turn();
    for (FakeVirtqueue& queue : queues) {
      const uint64_t start = queue.layout().descriptors.value();
      VMM_CHECK(memory.fill(GuestAddress(start), kQueueStride, std::byte{0}), "not in test memory");
      queue = FakeVirtqueue(memory, start, queue.size());
    }
    start();
  }
  void turn() const {
    for (int i = 0; i < 6; ++i) {
      loop_.run_once(std::chrono::nanoseconds(0));
    }
  }
  void kick(uint16_t queue) const {
    driver->notify(queue);
    turn();
  }
  VirtioCore& core() const { return pci_ != nullptr ? pci_->core() : mmio_device_->core(); }

  std::vector<int> bytes(uint64_t address, size_t count) const {
    std::vector<int> all;
    all.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      all.push_back(*memory.read<uint8_t>(GuestAddress(address + i)));
    }
    return all;
  }

  FakePciDriver& pci_driver() const { return static_cast<FakePciDriver&>(*driver); }  // on PCI
  FakeMsiSink& msi() { return msi_; }
  FakeLine& line() { return line_; }

  GuestMemory memory = make_guest_ram({{0, 8U << 20}});
  std::unique_ptr<FakeVirtioDriver> driver;
  std::vector<FakeVirtqueue> queues;

 private:
  void make_queues(const VirtioDevice& device) {
    for (uint16_t q = 0; q < device.queue_count(); ++q) {
      queues.emplace_back(memory, kQueueBase + q * kQueueStride, device.queue_size_max());
    }
  }

  EventLoop& loop_;
  IoBus ports_;
  IoBus mmio_bus_;
  FakeDoorbells doorbells_;
  FakeMsiSink msi_;
  FakeLine line_;
  FakeMmio mmio_{mmio_bus_, doorbells_};
  pci::PciBus bus_{ports_, mmio_bus_, nullptr};
  std::unique_ptr<VirtioPci> pci_;
  std::unique_ptr<VirtioMmio> mmio_device_;
};

}  // namespace vmm::virtio
