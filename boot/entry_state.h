// The register values, descriptor table and page tables with which each boot protocol wants to be entered.
#pragma once

#include "boot/boot_plan.h"

namespace vmm::boot {

// 64-bit boot protocol (boot.rst, "64-bit Boot Protocol"): paging on with the first 4 GiB identity-mapped,
// __BOOT_CS 0x10 and __BOOT_DS 0x18 flat. Writes GDT and page tables into low memory.
Result<EntryState> enter_long64(const GuestMemory& memory, GuestAddress entry, GuestAddress boot_params);

// PVH (Xen docs/misc/pvh.pandoc): 32-bit protected mode without paging, flat segments, ebx = start_info.
Result<EntryState> enter_protected32(const GuestMemory& memory, GuestAddress entry, GuestAddress start_info);

// Writes bytes that direct boot itself makes. An error where there is no memory.
Status put(const GuestMemory& memory, uint64_t address, std::span<const std::byte> bytes);

}  // namespace vmm::boot
