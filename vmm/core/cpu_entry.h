// EntryState: the registers with which a vCPU begins when no firmware runs, as plain values: boot/ decides
// them, vmm/kvm sets them, and neither knows the other.
#pragma once

#include <cstdint>

#include "vmm/core/guest_address.h"

namespace vmm {

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

}  // namespace vmm
