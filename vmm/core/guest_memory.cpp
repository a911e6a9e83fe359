#include "vmm/core/guest_memory.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "vmm/base/check.h"

namespace vmm {

GuestMemory::GuestMemory(std::vector<Region> regions) : regions_(std::move(regions)) {
  uint64_t previous_end = 0;
  for (const Region& region : regions_) {
    VMM_CHECK(region.mapping.size() > 0, "a memory region is empty");
    VMM_CHECK(region.mapping.size() <= UINT64_MAX - region.start.value(), "a memory region wraps around");
    VMM_CHECK(size_bytes_ == 0 || region.start.value() > previous_end, "memory regions overlap or touch");
    previous_end = region.end();
    size_bytes_ += region.mapping.size();
  }
}

uint64_t GuestMemory::bytes_below(GuestAddress limit) const {
  uint64_t bytes = 0;
  for (const Region& region : regions_) {
    bytes += region.start < limit ? region.mapping.size() : 0;
  }
  return bytes;
}

std::byte* GuestMemory::find(GuestAddress start, uint64_t length_bytes) const {
  // At most a handful of regions: a linear search beats a cleverer one.
  for (const Region& region : regions_) {
    if (start < region.start) {
      return nullptr;
    }
    const uint64_t offset = start.value() - region.start.value();
    if (offset < region.mapping.size()) {
      return length_bytes <= region.mapping.size() - offset ? region.mapping.data() + offset : nullptr;
    }
  }
  return nullptr;
}

bool GuestMemory::read_bytes(GuestAddress from, std::span<std::byte> to) const {
  const std::byte* place = find(from, to.size());
  if (place == nullptr) {
    return false;
  }
  if (!to.empty()) {  // memcpy takes no null pointer, not even for nothing
    std::memcpy(to.data(), place, to.size());
  }
  return true;
}

bool GuestMemory::write_bytes(GuestAddress to, std::span<const std::byte> from) const {
  std::byte* place = find(to, from.size());
  if (place == nullptr) {
    return false;
  }
  if (!from.empty()) {
    std::memcpy(place, from.data(), from.size());
  }
  return true;
}

bool GuestMemory::fill(GuestAddress start, uint64_t length_bytes, std::byte value) const {
  std::byte* place = find(start, length_bytes);
  if (place == nullptr) {
    return false;
  }
  std::memset(place, std::to_integer<int>(value), length_bytes);
  return true;
}

std::optional<iovec> GuestMemory::io_buffer(GuestRange range) const {
  std::byte* place = range.length_bytes > 0 ? find(range.start, range.length_bytes) : nullptr;
  if (place == nullptr) {
    return std::nullopt;
  }
  return iovec{.iov_base = place, .iov_len = range.length_bytes};
}

bool GuestMemory::io_buffers(GuestRange range, std::vector<iovec>& buffers) const {
  const std::optional<iovec> buffer = io_buffer(range);
  if (!buffer) {
    return false;
  }
  buffers.push_back(*buffer);
  return true;
}

}  // namespace vmm
