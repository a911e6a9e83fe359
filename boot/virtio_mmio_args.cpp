#include "boot/virtio_mmio_args.h"

#include <fmt/format.h>

#include "vmm/core/layout.h"

namespace vmm::boot {

std::string virtio_mmio_arguments(uint32_t slot_mask) {
  std::string text;
  for (uint32_t slot = 0; slot < layout::kVirtioMmioSlots; ++slot) {
    if ((slot_mask >> slot & 1) != 0) {
      text += fmt::format(" virtio_mmio.device=4K@{:#x}:{}",
                          layout::kVirtioMmioStart + slot * layout::kVirtioMmioStride,
                          layout::kVirtioMmioFirstGsi + slot);
    }
  }
  return text;
}

}  // namespace vmm::boot
