// bzImage: Linux kernels by the 64-bit boot protocol.
//
// Standard: Linux Documentation/arch/x86/boot.rst, protocol 2.12 and later (Linux 3.8), and zero-page.rst.
#pragma once

#include <cstdint>

#include "boot/boot_plan.h"
#include "boot/input_file.h"

namespace vmm::boot {

// What the setup header of a bzImage says, checked: only a kernel that can be entered in 64-bit mode, and
// whose file is long enough, has one.
struct BzImage {
  uint64_t payload_offset = 0;  // of the protected-mode kernel, in the file
  uint64_t payload_bytes = 0;
  uint64_t load_address = 0;     // page-aligned; the kernel runs where it is loaded
  uint64_t footprint_bytes = 0;  // what it needs from load_address on, before it looks at the memory map
  uint64_t command_line_max_bytes = 0;  // without the NUL
  uint64_t initrd_limit = 0;            // first address that no byte of the initrd may have
  uint16_t header_end = 0;              // the setup header is [0x1f1, header_end) of the file

  static Result<BzImage> parse(const InputFile& file);
};

// Kernel, initrd, command line, boot_params and entry state in one.
Result<EntryState> load_bzimage(const GuestMemory& memory, const InputFile& file, const DirectBoot& boot,
                                const MemoryMap& map, std::optional<GuestAddress> rsdp);

}  // namespace vmm::boot
