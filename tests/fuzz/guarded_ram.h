// Guest memory between pages that nobody may touch: what lands outside of a region ends the fuzzer. One for
// the whole process, cleared for each input.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <vector>

#include "tests/unit/fakes/guest_ram.h"
#include "vmm/base/check.h"
#include "vmm/core/guest_memory.h"

namespace vmm::fuzz {

class GuardedRam {
 public:
  explicit GuardedRam(const std::vector<RamPiece>& pieces) : memory_(make(pieces)) {
    for (const GuestMemory::Region& region : memory_.regions()) {
      put_guard(region.mapping.data() - kGuardBytes);
      put_guard(region.mapping.data() + region.mapping.size());
    }
  }

  const GuestMemory& memory() const { return memory_; }

  // All zeroes again.
  void clear() const {
    for (const GuestMemory::Region& region : memory_.regions()) {
      VMM_CHECK(::madvise(region.mapping.data(), region.mapping.size(), MADV_DONTNEED) == 0,
                "guest memory cannot be cleared");
    }
  }

 private:
  static constexpr size_t kGuardBytes = 4096;

  // The kernel fills addresses downwards: a guard that is mapped first comes to lie above the region.
  static GuestMemory make(const std::vector<RamPiece>& pieces) {
    std::vector<GuestMemory::Region> regions;
    for (const RamPiece& piece : pieces) {
      map_guard(nullptr, 0);
      auto mapping = Mapping::map("fuzzed memory", piece.length_bytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      VMM_CHECK(mapping.has_value(), "no memory for a fuzzer");
      regions.push_back({GuestAddress(piece.start), *std::move(mapping)});
    }
    return GuestMemory(std::move(regions));
  }

  // Where something lies there already, it is a guard or we do without.
  static void put_guard(std::byte* place) { map_guard(place, MAP_FIXED_NOREPLACE); }
  static void map_guard(std::byte* place, int flags) {
    [[maybe_unused]] const void* guard =
        ::mmap(place, kGuardBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
  }

  GuestMemory memory_;
};

}  // namespace vmm::fuzz
