#include "vmm/core/io_bus.h"

#include <algorithm>
#include <iterator>
#include <mutex>

namespace vmm {

Status IoBus::add(uint64_t base, uint64_t length, BusDevice& device) {
  if (length == 0 || length - 1 > UINT64_MAX - base) {
    return fail("a device cannot answer {} bytes at {:#x}", length, base);
  }
  const std::unique_lock lock(mutex_);
  auto next = ranges_.lower_bound(base);
  const bool hits_next = next != ranges_.end() && next->first - base < length;
  const bool hits_previous = next != ranges_.begin() && [&] {
    const Range& previous = std::prev(next)->second;
    return base - previous.base < previous.length;
  }();
  if (hits_next || hits_previous) {
    return fail("two devices would answer at {:#x} (+{:#x})", base, length);
  }
  ranges_.emplace(base, Range{base, length, &device});
  return {};
}

void IoBus::remove(uint64_t base) {
  const std::unique_lock lock(mutex_);
  ranges_.erase(base);
}

IoBus::Range IoBus::find(uint64_t address, size_t length) const {
  const std::shared_lock lock(mutex_);
  auto next = ranges_.upper_bound(address);
  if (next == ranges_.begin()) {
    return {};
  }
  const Range& range = std::prev(next)->second;
  const uint64_t offset = address - range.base;
  return offset < range.length && length <= range.length - offset ? range : Range{};
}

bool IoBus::read(uint64_t address, std::span<std::byte> data) const {
  const Range range = find(address, data.size());
  if (range.device == nullptr) {
    std::ranges::fill(data, std::byte{0xff});
    return false;
  }
  range.device->read(address - range.base, data);
  return true;
}

bool IoBus::write(uint64_t address, std::span<const std::byte> data) const {
  const Range range = find(address, data.size());
  if (range.device == nullptr) {
    return false;
  }
  range.device->write(address - range.base, data);
  return true;
}

}  // namespace vmm
