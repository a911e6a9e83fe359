#include "vmm/machine/virtio_places.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "vmm/core/layout.h"

namespace vmm {
namespace {

constexpr uint8_t kLastSlot = 31;

// For ioeventfd='off': every notification leaves the guest and is handled by the vCPU's thread.
class NoDoorbells final : public DoorbellRegistry {
 public:
  Status attach(const Doorbell& /*doorbell*/, const EventFd& /*event*/) override { return {}; }
  void detach(const Doorbell& /*doorbell*/, const EventFd& /*event*/) override {}
};

}  // namespace

void VirtioTransport::reset() const {
  if (mmio != nullptr) {
    mmio->core().power_on_reset();
  }
}

Result<VirtioTransport> VirtioPlaces::attach(virtio::VirtioDevice& device, EventLoop& loop,
                                             const Wish& wish) {
  return world_.chipset != nullptr ? attach_to_pci(device, loop, wish) : attach_to_mmio(device, loop, wish);
}

DoorbellRegistry& VirtioPlaces::doorbells_for(const Wish& wish) const {
  static NoDoorbells none;
  return wish.has_ioeventfd ? static_cast<DoorbellRegistry&>(world_.vm) : none;
}

bool VirtioPlaces::is_wished(uint8_t slot) const {
  const auto names_it = [slot](const auto& device) { return device.address && device.address->slot == slot; };
  return std::ranges::any_of(domain_.disks, names_it) || std::ranges::any_of(domain_.rngs, names_it) ||
         std::ranges::any_of(domain_.interfaces, names_it) ||
         (domain_.balloon && names_it(*domain_.balloon)) || (domain_.watchdog && names_it(*domain_.watchdog));
}

uint8_t VirtioPlaces::free_slot() const {
  uint8_t slot = PcChipset::kFirstFreeSlot;
  while (slot <= kLastSlot &&
         (is_wished(slot) || world_.chipset->bus().function_at({.slot = slot, .function = 0}) != nullptr)) {
    ++slot;
  }
  return slot;
}

Result<uint8_t> VirtioPlaces::pci_slot(const std::optional<domain::PciAddress>& wish) const {
  const uint8_t slot = wish ? wish->slot : free_slot();
  if (slot > kLastSlot) {
    return fail("the PCI bus has no slot left");
  }
  return slot;
}

Result<VirtioTransport> VirtioPlaces::attach_to_pci(virtio::VirtioDevice& device, EventLoop& loop,
                                                    const Wish& wish) {
  VirtioTransport transport;
  VMM_ASSIGN_OR_RETURN(transport.slot, pci_slot(wish.address));
  VMM_ASSIGN_OR_RETURN(transport.pci,
                       virtio::VirtioPci::create(device, {.loop = loop,
                                                          .memory = world_.memory,
                                                          .doorbells = doorbells_for(wish),
                                                          .msi = world_.vm,
                                                          .intx = world_.chipset->intx(transport.slot)}));
  if (!wish.rom.empty()) {
    transport.pci->set_expansion_rom(wish.rom);
  }
  VMM_TRY(world_.chipset->bus().attach({.slot = transport.slot, .function = 0}, *transport.pci));
  return transport;
}

Result<VirtioTransport> VirtioPlaces::attach_to_mmio(virtio::VirtioDevice& device, EventLoop& loop,
                                                     const Wish& wish) {
  const auto slot = static_cast<uint32_t>(std::countr_one(mmio_mask_));
  if (slot >= layout::kVirtioMmioSlots) {
    return fail("machine='microvm' has room for {} virtio devices; use machine='pc'",
                layout::kVirtioMmioSlots);
  }
  const GuestAddress address(layout::kVirtioMmioStart + slot * layout::kVirtioMmioStride);
  VirtioTransport transport;
  VMM_ASSIGN_OR_RETURN(transport.line, world_.vm.make_edge_line(layout::kVirtioMmioFirstGsi + slot));
  VMM_ASSIGN_OR_RETURN(transport.mmio, virtio::VirtioMmio::create(device, {.loop = loop,
                                                                           .memory = world_.memory,
                                                                           .doorbells = doorbells_for(wish),
                                                                           .line = *transport.line,
                                                                           .address = address}));
  VMM_TRY(world_.mmio.add(address.value(), virtio::VirtioMmio::kLengthBytes, *transport.mmio));
  mmio_mask_ |= 1U << slot;
  return transport;
}

}  // namespace vmm
