#include "boot/memory_map.h"

#include "vmm/base/bytes.h"
#include "vmm/core/layout.h"

namespace vmm::boot {

namespace {

MemoryMapEntry entry(uint64_t start, uint64_t end, MemoryType type) {
  return {.range = {.start = GuestAddress(start), .length_bytes = end - start}, .type = type};
}

}  // namespace

Result<std::vector<GuestRange>> ram_layout(uint64_t ram_bytes) {
  if (ram_bytes % kPageBytes != 0) {
    return fail_configuration("<memory>: {} bytes are no multiple of 4 KiB; round the size up", ram_bytes);
  }
  if (ram_bytes < kMinimumRamBytes) {
    return fail_configuration("<memory>: {} KiB are too little for a guest; give it at least {} KiB",
                              ram_bytes / 1024, kMinimumRamBytes / 1024);
  }
  if (ram_bytes > kMaximumRamBytes) {
    return fail_configuration("<memory>: {} KiB are more than a guest can have; give it at most {} KiB",
                              ram_bytes / 1024, kMaximumRamBytes / 1024);
  }
  if (ram_bytes <= layout::kMmioHoleStart) {
    return std::vector{GuestRange{.start = GuestAddress(0), .length_bytes = ram_bytes}};
  }
  return std::vector{GuestRange{.start = GuestAddress(0), .length_bytes = layout::kMmioHoleStart},
                     GuestRange{.start = GuestAddress(layout::kFourGiB),
                                .length_bytes = ram_bytes - layout::kMmioHoleStart}};
}

Result<MemoryMap> make_memory_map(uint64_t ram_bytes) {
  VMM_ASSIGN_OR_RETURN(const std::vector<GuestRange> ram, ram_layout(ram_bytes));
  MemoryMap map{
      entry(0, layout::kEbdaStart, MemoryType::kUsable),
      entry(layout::kEbdaStart, 0xa0000, MemoryType::kReserved),
      entry(layout::kHighBiosStart, layout::kOneMiB, MemoryType::kReserved),
      entry(layout::kOneMiB, ram.front().length_bytes, MemoryType::kUsable),
      entry(layout::kIoApicAddress, layout::kIoApicAddress + kPageBytes, MemoryType::kReserved),
      entry(layout::kLocalApicAddress, layout::kLocalApicAddress + kPageBytes, MemoryType::kReserved),
      entry(layout::kKvmIdentityMapAddress, layout::kKvmTssAddress + 3ULL * kPageBytes,
            MemoryType::kReserved),
  };
  if (ram.size() > 1) {
    map.push_back({.range = ram.back(), .type = MemoryType::kUsable});
  }
  return map;
}

}  // namespace vmm::boot
