// PartPool: the transfers of a layer's jobs. Each job has one of its own, so that it always gets on; more
// come from here. Threads: its owner's. No allocation after construction.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace vmm::block {

// Part: has `job` and `next_free`; what `job` points to has `own_part` and `is_own_part_used`.
template <typename Part>
class PartPool {
 public:
  explicit PartPool(size_t count) : parts_(count) {
    for (Part& part : parts_) {
      part.next_free = std::exchange(free_, &part);
    }
  }

  // nullptr: none is free; the job goes on when one of its own comes back.
  template <typename Job>
  Part* take(Job& job) {
    if (!std::exchange(job.is_own_part_used, true)) {
      return &job.own_part;
    }
    return free_ == nullptr ? nullptr : std::exchange(free_, free_->next_free);
  }

  void give_back(Part& part) {
    if (&part == &part.job->own_part) {
      part.job->is_own_part_used = false;
    } else {
      part.next_free = std::exchange(free_, &part);
    }
  }

 private:
  std::vector<Part> parts_;
  Part* free_ = nullptr;
};

}  // namespace vmm::block
