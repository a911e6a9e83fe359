#include "vmm/machine/pci_info.h"

#include "devices/pci/config_space.h"
#include "vmm/base/bytes.h"

namespace vmm {
namespace {

std::vector<PciRegion> regions_of(const pci::PciFunction& function) {
  std::vector<PciRegion> regions;
  for (size_t i = 0; i < pci::kRegionCount; ++i) {
    const pci::Bar& bar = function.bars()[i];
    if (bar.kind != pci::BarKind::kNone) {
      regions.push_back({.bar = i,
                         .is_io = bar.kind == pci::BarKind::kIo,
                         .is_64_bit = bar.kind == pci::BarKind::kMemory64,
                         .length_bytes = bar.length_bytes,
                         .address = function.decoded_address(i)});
    }
  }
  return regions;
}

PciFunctionInfo info_of(pci::PciAddress where, const pci::PciFunction& function) {
  const auto values = function.config_state().values;
  return {.where = where,
          .class_code = load_le<uint32_t>(&values[pci::kRevisionId]) >> 8U,
          .vendor_id = load_le<uint16_t>(&values[pci::kVendorId]),
          .device_id = load_le<uint16_t>(&values[pci::kDeviceId]),
          .subsystem_vendor_id = load_le<uint16_t>(&values[pci::kSubsystemVendorId]),
          .subsystem_id = load_le<uint16_t>(&values[pci::kSubsystemId]),
          .interrupt_pin = load_le<uint8_t>(&values[pci::kInterruptPin]),
          .interrupt_line = load_le<uint8_t>(&values[pci::kInterruptLine]),
          .regions = regions_of(function)};
}

}  // namespace

std::vector<PciFunctionInfo> pci_functions(const pci::PciBus& bus) {
  std::vector<PciFunctionInfo> found;
  for (uint8_t slot = 0; slot < pci::kSlotCount; ++slot) {
    for (uint8_t number = 0; number < pci::kFunctionsPerSlot; ++number) {
      const pci::PciAddress where{.slot = slot, .function = number};
      if (const pci::PciFunction* const function = bus.function_at(where)) {
        found.push_back(info_of(where, *function));
      }
    }
  }
  return found;
}

}  // namespace vmm
