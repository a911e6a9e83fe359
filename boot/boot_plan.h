// Direct boot: a kernel file, put into the guest's memory by the monitor instead of a firmware.
//
// Two kinds of kernel are known: bzImage, by the 64-bit boot protocol of Linux
// (Documentation/arch/x86/boot.rst, protocol 2.12 and later), and ELF with a PVH note (Xen's
// docs/misc/pvh.pandoc and hvm_start_info version 1). Which of the two a file is, its first bytes say.
//
// Threads: before the vCPUs run, one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "boot/memory_map.h"
#include "vmm/base/error.h"
#include "vmm/core/cpu_entry.h"
#include "vmm/core/guest_address.h"
#include "vmm/core/guest_memory.h"

namespace vmm::boot {

struct DirectBoot {
  std::string kernel_path = {};
  std::string initrd_path = {};  // empty: none
  std::string command_line = {};
  // True: all of RAM reads as zero (a new guest), so that a program's bss need not be cleared. False:
  // anything may be there.
  bool memory_is_zero = false;
};

using vmm::EntryState;
using vmm::SegmentState;

// Loads the kernel and the initrd, writes what the protocol hands over (command line, memory map, rsdp), and
// says where the guest begins. rsdp: what install_acpi() returned; none for a guest without ACPI.
//
// Errors name the file, the field and what to do: a file that cannot be read, is no kernel, is cut off, or
// does not fit into the guest's memory; a command line that is too long or holds a NUL. Memory is then in an
// unspecified state.
Result<EntryState> load_direct(const GuestMemory& memory, const DirectBoot& boot, const MemoryMap& map,
                               std::optional<GuestAddress> rsdp);

}  // namespace vmm::boot
