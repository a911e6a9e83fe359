// Where direct boot keeps what it hands over to the guest: in conventional memory, below every kernel.
//
// What boots by either protocol is done with these pages once it has set up its own; none of them is
// reserved in the memory map.
#pragma once

#include <cstdint>

namespace vmm::boot::low {

inline constexpr uint64_t kStart = 0x1000;
inline constexpr uint64_t kGdt = 0x1000;
inline constexpr uint64_t kStackTop = 0x3000;    // one page below it
inline constexpr uint64_t kPageTables = 0x4000;  // PML4, PDPT and 4 page directories
inline constexpr uint64_t kBootParams = 0xa000;  // bzImage's zero page
inline constexpr uint64_t kStartInfo = 0xa000;   // PVH: hvm_start_info, then its module list
inline constexpr uint64_t kPvhModules = 0xa100;
inline constexpr uint64_t kPvhMemoryMap = 0xb000;
inline constexpr uint64_t kPvhMemoryMapEnd = 0xc000;
inline constexpr uint64_t kCommandLine = 0x10000;
inline constexpr uint64_t kCommandLineRoom = 0x10000;  // with the terminating NUL
inline constexpr uint64_t kEnd = kCommandLine + kCommandLineRoom;

}  // namespace vmm::boot::low
