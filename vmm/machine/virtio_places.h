// VirtioPlaces: where virtio devices are in the machine: on the PCI bus (`pc`), or in a virtio-mmio slot
// (`microvm`).
//
// Threads: the main thread, while no vCPU runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "devices/virtio/mmio.h"
#include "devices/virtio/pci.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/io_bus.h"
#include "vmm/domain/domain.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/pc_chipset.h"

namespace vmm {

// What is between a device and the guest's driver: its registers in one of the two places.
struct VirtioTransport {
  std::unique_ptr<InterruptLine> line;  // virtio-mmio
  std::unique_ptr<virtio::VirtioMmio> mmio;
  std::unique_ptr<virtio::VirtioPci> pci;
  uint8_t slot = 0;  // of pci

  virtio::VirtioCore& core() const { return pci != nullptr ? pci->core() : mmio->core(); }
  // To the power-on state, but for what is on PCI, which is reset with its bus. REQUIRES: quiesced, no vCPU
  // runs.
  void reset() const;
};

class VirtioPlaces {
 public:
  // What devices are attached to.
  struct World {
    const GuestMemory& memory;
    IoBus& mmio;
    Vm& vm;
    PcChipset* chipset;  // null: virtio-mmio
  };
  struct Wish {
    std::optional<domain::PciAddress> address;  // absent: a slot that nobody wishes
    bool has_ioeventfd = true;                  // else vCPU threads handle notifications
    std::vector<std::byte> rom;                 // on PCI: of its expansion ROM; empty: it has none
  };

  // REQUIRES: everything passed outlives the devices.
  VirtioPlaces(const domain::Domain& domain, const World& world) : domain_(domain), world_(world) {}

  // The device belongs to the loop from when that turns, and outlives the transport.
  Result<VirtioTransport> attach(virtio::VirtioDevice& device, EventLoop& loop, const Wish& wish);

  // The wished slot of the PCI bus, or the first that is free. An error where there is none. REQUIRES: pc.
  Result<uint8_t> pci_slot(const std::optional<domain::PciAddress>& wish) const;

  const World& world() const { return world_; }
  // Bit n: virtio-mmio slot n is taken.
  uint32_t mmio_mask() const { return mmio_mask_; }

 private:
  Result<VirtioTransport> attach_to_pci(virtio::VirtioDevice& device, EventLoop& loop, const Wish& wish);
  Result<VirtioTransport> attach_to_mmio(virtio::VirtioDevice& device, EventLoop& loop, const Wish& wish);
  DoorbellRegistry& doorbells_for(const Wish& wish) const;
  bool is_wished(uint8_t slot) const;
  uint8_t free_slot() const;

  const domain::Domain& domain_;
  const World world_;
  uint32_t mmio_mask_ = 0;
};

}  // namespace vmm
