// SpaceBudget: how much throwaway disks of one guest may take, all together, on the host's disk.
//
// What counts is what the host has set aside for their files, so that what the guest discards counts no more.
// A rewrite of what was written before needs nothing. Threads: any, but for add(), which is called before the
// first reserve().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vmm/base/thread_annotations.h"

namespace vmm::block {

class OverlayFile;

class SpaceBudget {
 public:
  static constexpr uint64_t kNoLimit = UINT64_MAX;

  explicit SpaceBudget(uint64_t limit_bytes) : limit_(limit_bytes) {}
  SpaceBudget(const SpaceBudget&) = delete;
  SpaceBudget& operator=(const SpaceBudget&) = delete;

  void add(std::shared_ptr<const OverlayFile> file) { files_.push_back(std::move(file)); }

  // Before `bytes` are written to space that is not used yet; false: they must not be. In turns with
  // release(), when they are written, or were not.
  bool reserve(uint64_t bytes) VMM_EXCLUDES(mutex_);
  void release(uint64_t bytes) VMM_EXCLUDES(mutex_);

  uint64_t limit_bytes() const VMM_EXCLUDES(mutex_);
  void set_limit(uint64_t bytes) VMM_EXCLUDES(mutex_);
  uint64_t used_bytes() const;
  // Whether it is the limit that was in the way at the last time, and not the host's disk.
  bool is_limit_reached() const VMM_EXCLUDES(mutex_);

 private:
  uint64_t headroom() VMM_REQUIRES(mutex_);

  std::vector<std::shared_ptr<const OverlayFile>> files_;

  mutable Mutex mutex_;
  uint64_t limit_ VMM_GUARDED_BY(mutex_);
  uint64_t in_flight_ VMM_GUARDED_BY(mutex_) = 0;
  // May be reserved before the host is asked again.
  uint64_t grant_ VMM_GUARDED_BY(mutex_) = 0;
  bool is_limit_reached_ VMM_GUARDED_BY(mutex_) = false;
};

}  // namespace vmm::block
