// What firmware does before a system starts, for guests that are booted without one: every BAR gets an
// address, decoding is turned on, and the interrupt line register says which IRQ the pin is routed to.
#pragma once

#include <cstdint>

#include "devices/pci/pci_bus.h"
#include "vmm/base/error.h"
#include "vmm/core/layout.h"

namespace vmm::pci {

// [start, end) of each space that BARs may use. 64-bit BARs are placed in the 32-bit window too: any guest
// can reach them there.
struct Windows {
  uint64_t io_start = layout::kPciIoStart;
  uint64_t io_end = 0x1'0000;
  uint64_t memory_start = layout::kPciMmioStart;
  uint64_t memory_end = layout::kPciMmioEnd;
};

// REQUIRES: no vCPU runs. To be called before the first start, and after each PciBus::reset(), where no
// firmware runs. An error where a window is full.
Status assign_resources(PciBus& bus, const Windows& windows = {});

}  // namespace vmm::pci
