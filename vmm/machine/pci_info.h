// What is on the PCI bus, for those who ask about a guest that runs.
//
// Threads: of pci_functions(), any; the rest are values.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "devices/pci/pci_bus.h"

namespace vmm {

struct PciRegion {
  size_t bar = 0;  // pci::kRomBar: the expansion ROM
  bool is_io = false;
  bool is_64_bit = false;
  uint64_t length_bytes = 0;
  std::optional<uint64_t> address;  // absent: it is not decoded now
};
struct PciFunctionInfo {
  pci::PciAddress where;
  uint32_t class_code = 0;  // class, subclass, programming interface
  uint16_t vendor_id = 0;
  uint16_t device_id = 0;
  uint16_t subsystem_vendor_id = 0;
  uint16_t subsystem_id = 0;
  uint8_t interrupt_pin = 0;   // 0: none, 1: INTA#
  uint8_t interrupt_line = 0;  // as the guest, or its firmware, has noted it
  std::vector<PciRegion> regions;
};

std::vector<PciFunctionInfo> pci_functions(const pci::PciBus& bus);

}  // namespace vmm
