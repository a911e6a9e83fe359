// AlignedMemory: memory that the kernel takes for direct transfers.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdlib>
#include <memory>

#include "vmm/base/bytes.h"

namespace vmm::block {

struct FreeMemory {
  void operator()(std::byte* bytes) const { std::free(bytes); }
};
using AlignedMemory = std::unique_ptr<std::byte, FreeMemory>;

// Aligned to 4096 bytes, or to the largest power of two that fits where less is wanted. nullptr: the host has
// none. REQUIRES: bytes > 0.
inline AlignedMemory make_aligned_memory(size_t bytes) {
  const size_t alignment = std::min<size_t>(kPageBytes, std::bit_floor(bytes));
  return AlignedMemory(static_cast<std::byte*>(std::aligned_alloc(alignment, align_up(bytes, alignment))));
}

}  // namespace vmm::block
