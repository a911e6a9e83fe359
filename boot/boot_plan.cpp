#include "boot/boot_plan.h"

#include "boot/bzimage.h"
#include "boot/elf_file.h"
#include "boot/input_file.h"
#include "boot/pvh.h"

namespace vmm::boot {

Result<EntryState> load_direct(const GuestMemory& memory, const DirectBoot& boot, const MemoryMap& map,
                               std::optional<GuestAddress> rsdp) {
  if (boot.command_line.find('\0') != std::string::npos) {
    return fail_configuration(
        "<cmdline>: the kernel command line holds a NUL byte, which would end it; remove it");
  }
  VMM_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(boot.kernel_path, "kernel"));
  VMM_ASSIGN_OR_RETURN(const bool elf, is_elf(file));
  return elf ? load_pvh(memory, file, boot, map, rsdp) : load_bzimage(memory, file, boot, map, rsdp);
}

}  // namespace vmm::boot
