// PCI by configuration mechanism 1 (PCI 3.0, 3.2.2.3.2).
#pragma once

#include <cstdint>

namespace guest {

struct PciAddress {
  uint8_t bus = 0;
  uint8_t device = 0;
  uint8_t function = 0;
};

uint32_t pci_read32(PciAddress address, uint32_t offset);
uint16_t pci_read16(PciAddress address, uint32_t offset);
uint8_t pci_read8(PciAddress address, uint32_t offset);
void pci_write32(PciAddress address, uint32_t offset, uint32_t value);
void pci_write16(PciAddress address, uint32_t offset, uint16_t value);
void pci_write8(PciAddress address, uint32_t offset, uint8_t value);

inline constexpr uint16_t kPciCommand = 4;
inline constexpr uint16_t kPciCommandIo = 1;
inline constexpr uint16_t kPciCommandMemory = 2;
inline constexpr uint16_t kPciCommandMaster = 4;
inline constexpr uint16_t kPciBar0 = 0x10;

bool pci_present();  // there is a host bridge that answers
bool pci_exists(PciAddress address);

// Calls visit(PciAddress) for each function on bus 0.
template <class Visit>
void for_each_pci(Visit visit) {
  if (!pci_present()) return;
  for (uint8_t device = 0; device < 32; device++) {
    if (!pci_exists({0, device, 0})) continue;
    const bool several = (pci_read8({0, device, 0}, 0x0e) & 0x80) != 0;
    for (uint8_t function = 0; function < uint8_t{8}; function++) {
      if (function > 0 && !several) break;
      if (pci_exists({0, device, function})) visit(PciAddress{0, device, function});
    }
  }
}

// The offset of a capability after `after` (0: the first one); 0: there is none.
uint8_t pci_capability(PciAddress address, uint8_t id, uint8_t after = 0);

struct PciBar {
  bool exists = false;
  bool io = false;
  bool is_64_bits = false;
  bool prefetchable = false;
  uint64_t address = 0;
  uint64_t size = 0;
};
// Sizes it the usual way, with decoding switched off meanwhile.
PciBar pci_bar(PciAddress address, uint32_t index);
void pci_set_bar(PciAddress address, uint32_t index, uint64_t value);
uint64_t pci_bar_address(PciAddress address, uint32_t index);

}  // namespace guest
