// The headers of an ELF executable for x86, read field by field and checked.
//
// Standard: System V ABI (gABI), chapters 4 and 5; both classes, little-endian, machines EM_386 and
// EM_X86_64.
#pragma once

#include <cstdint>
#include <vector>

#include "boot/input_file.h"

namespace vmm::boot {

// One program header. The part in the file lies wholly inside the file.
struct ElfSegment {
  size_t index = 0;  // of its program header, for errors
  uint32_t type = 0;
  uint64_t file_offset = 0;
  uint64_t physical_address = 0;
  uint64_t file_bytes = 0;
  uint64_t memory_bytes = 0;
  uint64_t alignment = 0;
};

inline constexpr uint32_t kSegmentLoad = 1;  // PT_LOAD
inline constexpr uint32_t kSegmentNote = 4;  // PT_NOTE

// True where the file begins as ELF does.
Result<bool> is_elf(const InputFile& file);

// The PT_LOAD and PT_NOTE program headers of an executable.
Result<std::vector<ElfSegment>> read_elf_segments(const InputFile& file);

}  // namespace vmm::boot
