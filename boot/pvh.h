// PVH: ELF kernels and programs that are entered in 32-bit protected mode with a pointer to hvm_start_info.
//
// Standard: Xen, docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h (version 1); the entry
// is the ELF note named "Xen" of type 18 (XEN_ELFNOTE_PHYS32_ENTRY).
#pragma once

#include <optional>

#include "boot/boot_plan.h"
#include "boot/elf_file.h"
#include "boot/input_file.h"

namespace vmm::boot {

// The entry address that the file's notes give. An error where there is none.
Result<GuestAddress> find_pvh_entry(const InputFile& file, const std::vector<ElfSegment>& segments);

Result<EntryState> load_pvh(const GuestMemory& memory, const InputFile& file, const DirectBoot& boot,
                            const MemoryMap& map, std::optional<GuestAddress> rsdp);

}  // namespace vmm::boot
