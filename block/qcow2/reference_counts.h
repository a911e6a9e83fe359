// ReferenceCounts: how often each cluster of a window is referred to, in two bytes a cluster. Part of check.
//
// Threads: one at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "vmm/base/check.h"

namespace vmm::block::qcow2 {

class ReferenceCounts {
 public:
  void reset(size_t clusters) {
    small_.assign(clusters, 0);
    large_.clear();
  }
  size_t size() const { return small_.size(); }

  // Up to UINT32_MAX and no further.
  void add(size_t index, uint32_t times) {
    uint16_t& small = small_[index];
    if (times < kIsLarge && small + times < kIsLarge) {
      small = static_cast<uint16_t>(small + times);
      return;
    }
    uint32_t& large = large_.try_emplace(index, small).first->second;
    large += std::min(times, UINT32_MAX - large);
    small = kIsLarge;
  }
  void set(size_t index, uint16_t count) {
    VMM_CHECK(count < kIsLarge, "a count of two bytes");
    small_[index] = count;
  }
  uint32_t operator[](size_t index) const {
    return small_[index] == kIsLarge ? large_.at(index) : small_[index];
  }

 private:
  static constexpr uint16_t kIsLarge = UINT16_MAX;

  std::vector<uint16_t> small_;
  // Few: each stands for tens of thousands of references in the image.
  std::unordered_map<size_t, uint32_t> large_;
};

}  // namespace vmm::block::qcow2
