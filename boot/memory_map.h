// The guest's physical memory: where RAM lies, and what the guest is told about it (e820, PVH memory map).
// The single truth for GuestMemory's regions too.
//
// Standards: ACPI 6.5 section 15 (system address map interfaces); the boot protocols' tables are copies of
// it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/core/guest_address.h"

namespace vmm::boot {

// The numbers of ACPI 6.5 table 15.1, the same in e820 and in PVH's hvm_memmap_table_entry.
enum class MemoryType : uint32_t {
  kUsable = 1,
  kReserved = 2,
  kAcpiReclaimable = 3,
  kAcpiNvs = 4,
};

inline constexpr size_t kE820EntryBytes = 20;

struct MemoryMapEntry {
  GuestRange range;
  MemoryType type = MemoryType::kUsable;
};

// Sorted by address, without overlaps.
using MemoryMap = std::vector<MemoryMapEntry>;

// The RAM of a guest of ram_bytes: one range, or two where it reaches the hole below 4 GiB
// (layout::kMmioHoleStart): [0, hole) and [4 GiB, …). An error (of the domain file) where ram_bytes is no
// multiple of 4 KiB, less than kMinimumRamBytes or more than kMaximumRamBytes.
inline constexpr uint64_t kMinimumRamBytes = 2ULL << 20;
inline constexpr uint64_t kMaximumRamBytes = 1ULL << 45;
Result<std::vector<GuestRange>> ram_layout(uint64_t ram_bytes);

// What the guest is told of it: conventional memory up to the EBDA, the ROM area (where the ACPI tables are)
// reserved, RAM from 1 MiB, the pages of KVM and the interrupt controllers reserved, RAM above 4 GiB.
Result<MemoryMap> make_memory_map(uint64_t ram_bytes);

}  // namespace vmm::boot
