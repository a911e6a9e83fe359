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
#include "vmm/core/guest_address.h"
#include "vmm/core/guest_memory.h"

namespace vmm::boot {

struct DirectBoot {
  std::string kernel_path;
  std::string initrd_path;  // empty: none
  std::string command_line;
  // True: all of RAM reads as zero (a new guest), so that a program's bss need not be cleared. False:
  // anything may be there (a reboot in place).
  bool memory_is_zero = false;
};

// A segment register with its hidden part (Intel SDM volume 3, section 3.4.5). base and limit in bytes.
struct SegmentState {
  uint16_t selector = 0;
  uint64_t base = 0;
  uint32_t limit = 0xffff'ffff;  // the last byte's offset, after granularity
  uint8_t type = 0;              // 4 bits
  bool is_code_or_data = true;   // S; false for the task register
  uint8_t privilege = 0;         // DPL
  bool present = true;
  bool is_long = false;          // L: 64-bit code
  bool default_size_32 = false;  // D/B
  bool granularity_4k = false;   // G
};

// The state of the first vCPU at the kernel's first instruction, as plain register values: everything that
// is not named here has its reset value (APs wait for INIT/SIPI). Interrupts are off.
struct EntryState {
  enum class Mode : uint8_t {
    kLong64,       // paging on, 4 GiB identity-mapped: bzImage
    kProtected32,  // paging off: PVH
  };
  Mode mode = Mode::kProtected32;
  GuestAddress instruction_pointer;
  GuestAddress stack_pointer;  // top of a page that nothing else uses
  uint64_t rbx = 0;            // PVH: guest address of hvm_start_info
  uint64_t rsi = 0;            // bzImage: guest address of boot_params
  uint64_t rflags = 0x2;
  uint64_t cr0 = 0;
  uint64_t cr3 = 0;
  uint64_t cr4 = 0;
  uint64_t efer = 0;
  SegmentState code;  // cs
  SegmentState data;  // ds, es, fs, gs and ss
  SegmentState task;  // tr, which VMX wants to be valid
  GuestAddress gdt;   // in guest memory; holds the descriptors of the three above
  uint16_t gdt_limit = 0;
};

// Loads the kernel and the initrd, writes what the protocol hands over (command line, memory map, rsdp), and
// says where the guest begins. rsdp: what install_acpi() returned; none for a guest without ACPI.
//
// Errors name the file, the field and what to do: a file that cannot be read, is no kernel, is cut off, or
// does not fit into the guest's memory; a command line that is too long or holds a NUL. Memory is then in an
// unspecified state.
Result<EntryState> load_direct(const GuestMemory& memory, const DirectBoot& boot, const MemoryMap& map,
                               std::optional<GuestAddress> rsdp);

}  // namespace vmm::boot
