// VirtioMmio: a virtio device behind memory-mapped registers (virtio 1.2, section 4.2, version 2).
//
// Threads: as VirtioPci.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "devices/virtio/core.h"
#include "devices/virtio/device.h"
#include "vmm/core/doorbell.h"
#include "vmm/core/guest_address.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/interrupt.h"
#include "vmm/core/io_bus.h"

namespace vmm::virtio {

// Add it to the memory bus at World::address, kLengthBytes long.
class VirtioMmio final : public BusDevice, private TransportEvents {
 public:
  static constexpr uint64_t kLengthBytes = 0x200;

  // The world around it; all of it outlives the device.
  struct World {
    EventLoop& loop;  // the I/O thread that the device belongs to
    const GuestMemory& memory;
    DoorbellRegistry& doorbells;
    InterruptLine& line;   // edge-triggered: it is raised and lowered for each interrupt
    GuestAddress address;  // where doorbells are to be attached
  };

  static Result<std::unique_ptr<VirtioMmio>> create(VirtioDevice& device, const World& world);

  // quiesce(), resume(), config_changed(), power_on_reset().
  VirtioCore& core() { return core_; }

  void read(uint64_t offset, std::span<std::byte> data) override;
  void write(uint64_t offset, std::span<const std::byte> data) override;

 private:
  VirtioMmio(VirtioDevice& device, const World& world, std::vector<EventFd> doorbells);
  uint32_t read_register(uint64_t offset);
  void write_register(uint64_t offset, uint32_t value);
  void write_queue_register(uint64_t offset, uint32_t value);

  void interrupt_queue(uint16_t queue) override;
  void interrupt_config() override;
  void device_activated() override;

  DoorbellRegistry& registry_;
  InterruptLine& line_;
  const GuestAddress address_;
  VirtioCore core_;
  std::vector<std::atomic<bool>> has_doorbell_;  // by queue; doorbells stay attached once they are
};

}  // namespace vmm::virtio
