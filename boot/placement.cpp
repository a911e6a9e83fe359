#include "boot/placement.h"

#include <algorithm>

#include "vmm/base/bytes.h"
#include "vmm/core/layout.h"

namespace vmm::boot {

namespace {

void append_pages(std::vector<GuestRange>& ranges, uint64_t start, uint64_t end) {
  start = align_up(start, kPageBytes);
  end = align_down(end, kPageBytes);
  if (start < end) {
    ranges.push_back({.start = GuestAddress(start), .length_bytes = end - start});
  }
}

}  // namespace

bool is_usable(const MemoryMap& map, GuestRange range) {
  return std::ranges::any_of(map, [&](const MemoryMapEntry& entry) {
    if (entry.type != MemoryType::kUsable || range.start < entry.range.start) {
      return false;
    }
    const uint64_t offset = range.start.value() - entry.range.start.value();
    return offset <= entry.range.length_bytes && range.length_bytes <= entry.range.length_bytes - offset;
  });
}

bool overlap(const GuestRange& a, const GuestRange& b) {
  const GuestRange& first = a.start <= b.start ? a : b;
  const GuestRange& second = a.start <= b.start ? b : a;
  return second.length_bytes > 0 && second.start.value() - first.start.value() < first.length_bytes;
}

std::vector<GuestRange> free_ranges(const MemoryMap& map, std::span<const GuestRange> taken, uint64_t lowest,
                                    uint64_t limit) {
  std::vector<GuestRange> sorted(taken.begin(), taken.end());
  std::ranges::sort(sorted, {}, &GuestRange::start);
  std::vector<GuestRange> free;
  for (const MemoryMapEntry& entry : map) {
    if (entry.type != MemoryType::kUsable) {
      continue;
    }
    uint64_t start = std::max(entry.range.start.value(), lowest);
    const uint64_t end = std::min(entry.range.start.value() + entry.range.length_bytes, limit);
    for (const GuestRange& range : sorted) {
      const uint64_t range_end = range.start.value() + range.length_bytes;
      if (range_end <= start || range.start.value() >= end) {
        continue;
      }
      append_pages(free, start, range.start.value());
      start = std::max(start, range_end);
    }
    append_pages(free, start, end);
  }
  return free;
}

std::optional<GuestAddress> highest_place(std::span<const GuestRange> free, uint64_t length_bytes) {
  std::optional<GuestAddress> best;
  for (const GuestRange& range : free) {
    if (length_bytes <= range.length_bytes) {
      best = GuestAddress(align_down(range.start.value() + range.length_bytes - length_bytes, kPageBytes));
    }
  }
  return best;
}

Result<GuestRange> place_initrd(const GuestMemory& memory, const MemoryMap& map, const InputFile& initrd,
                                std::span<const GuestRange> taken, uint64_t limit) {
  const uint64_t size = initrd.size_bytes();
  // Below 4 GiB where it fits: early kernels' page tables reach it there.
  for (const uint64_t end : {std::min(limit, layout::kFourGiB), limit}) {
    const std::vector<GuestRange> free = free_ranges(map, taken, layout::kOneMiB, end);
    if (const std::optional<GuestAddress> place = highest_place(free, size)) {
      const GuestRange range{.start = *place, .length_bytes = size};
      VMM_TRY(initrd.load(0, memory, range));
      return range;
    }
  }
  uint64_t largest = 0;
  for (const GuestRange& range : free_ranges(map, taken, layout::kOneMiB, limit)) {
    largest = std::max(largest, range.length_bytes);
  }
  return fail(
      "the initrd {} is {} bytes long and the kernel leaves {} bytes of the guest's memory for it; give the "
      "guest more <memory>",
      initrd.path(), size, largest);
}

}  // namespace vmm::boot
