#include "block/space_budget.h"

#include <algorithm>

#include "block/overlay_file.h"

namespace vmm::block {
namespace {

// So that the host is not asked for each write; several guests may use the same file system.
constexpr uint64_t kMaxGrantBytes = uint64_t{1} << 20U;

uint64_t less(uint64_t from, uint64_t what) { return from - std::min(from, what); }

}  // namespace

bool SpaceBudget::reserve(uint64_t bytes) {
  const MutexLock lock(mutex_);
  if (bytes > grant_) {
    // fstat(2) and fstatvfs(2) of what is in the kernel's memory: nothing is waited for.
    const uint64_t room = headroom();
    if (bytes > room) {
      grant_ = 0;
      return false;
    }
    grant_ = std::max(bytes, std::min(room, kMaxGrantBytes));
  }
  grant_ -= bytes;
  in_flight_ += bytes;
  return true;
}

uint64_t SpaceBudget::headroom() {
  const uint64_t below_limit = limit_ == kNoLimit ? kNoLimit : less(less(limit_, used_bytes()), in_flight_);
  uint64_t on_disk = kNoLimit;
  for (const auto& file : files_) {
    on_disk = std::min(on_disk, less(file->free_bytes(), in_flight_));
  }
  is_limit_reached_ = below_limit < on_disk;
  return std::min(below_limit, on_disk);
}

void SpaceBudget::release(uint64_t bytes) {
  const MutexLock lock(mutex_);
  in_flight_ -= bytes;
}

uint64_t SpaceBudget::limit_bytes() const {
  const MutexLock lock(mutex_);
  return limit_;
}

void SpaceBudget::set_limit(uint64_t bytes) {
  const MutexLock lock(mutex_);
  limit_ = bytes;
  grant_ = 0;
}

uint64_t SpaceBudget::used_bytes() const {
  uint64_t used = 0;
  for (const auto& file : files_) {
    used += file->allocated_bytes();
  }
  return used;
}

bool SpaceBudget::is_limit_reached() const {
  const MutexLock lock(mutex_);
  return is_limit_reached_;
}

}  // namespace vmm::block
