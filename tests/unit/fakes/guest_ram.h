// Guest memory for tests.
#pragma once

#include <sys/mman.h>

#include <utility>
#include <vector>

#include "vmm/base/check.h"
#include "vmm/core/guest_memory.h"

namespace vmm {

struct RamPiece {
  uint64_t start = 0;
  uint64_t length_bytes = 0;
};

inline GuestMemory make_guest_ram(const std::vector<RamPiece>& pieces) {
  std::vector<GuestMemory::Region> regions;
  for (const RamPiece& piece : pieces) {
    auto mapping = Mapping::map("test memory", piece.length_bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    VMM_CHECK(mapping.has_value(), "no memory for a test");
    regions.push_back({GuestAddress(piece.start), *std::move(mapping)});
  }
  return GuestMemory(std::move(regions));
}

}  // namespace vmm
