// Where in the guest's memory there is room for what a boot loader brings.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "boot/input_file.h"
#include "boot/memory_map.h"
#include "vmm/core/guest_address.h"

namespace vmm::boot {

// True where the range is usable memory, in one entry of the map. False for ranges that wrap around.
bool is_usable(const MemoryMap& map, GuestRange range);

bool overlap(const GuestRange& a, const GuestRange& b);

// What is usable in [lowest, limit) and not taken: sorted, page-aligned inwards.
std::vector<GuestRange> free_ranges(const MemoryMap& map, std::span<const GuestRange> taken, uint64_t lowest,
                                    uint64_t limit);

// The highest page-aligned place for length_bytes in the ranges (as free_ranges() gives them).
std::optional<GuestAddress> highest_place(std::span<const GuestRange> free, uint64_t length_bytes);

// Copies the initrd as high as there is room below `limit`. taken: what the kernel uses.
Result<GuestRange> place_initrd(const GuestMemory& memory, const MemoryMap& map, const InputFile& initrd,
                                std::span<const GuestRange> taken, uint64_t limit);

}  // namespace vmm::boot
