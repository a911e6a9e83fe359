// What announces virtio-mmio devices to a Linux guest that has no ACPI: its kernel command line
// (Documentation/admin-guide/kernel-parameters.txt, virtio_mmio.device).
#pragma once

#include <cstdint>
#include <string>

namespace vmm::boot {

// " virtio_mmio.device=4K@0xfeb00000:16 …" for each bit n (slot n) of the mask; empty for an empty mask.
std::string virtio_mmio_arguments(uint32_t slot_mask);

}  // namespace vmm::boot
