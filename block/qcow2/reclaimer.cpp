#include "block/qcow2/reclaimer.h"

#include <algorithm>

#include "vmm/base/log.h"

namespace vmm::block::qcow2 {

Reclaimer::Reclaimer(ImageState& state, Refcounts& refcounts, TableCache& l2_cache)
    : state_(state), refcounts_(refcounts), l2_cache_(l2_cache) {
  request_.owner = this;
  request_.done = discarded;
  waiter_.wake = woken;
  waiter_.context = this;
}

void Reclaimer::take(std::vector<ClusterRun>& runs) {
  runs_.swap(runs);
  runs.clear();
  std::ranges::sort(runs_, {}, &ClusterRun::first);
  // Neighbours become one discard.
  size_t kept = 0;
  for (size_t i = 1; i < runs_.size(); ++i) {
    if (runs_[kept].first + runs_[kept].count == runs_[i].first) {
      runs_[kept].count += runs_[i].count;
    } else {
      runs_[++kept] = runs_[i];
    }
  }
  runs_.resize(runs_.empty() ? 0 : kept + 1);
  next_ = 0;
  try_start();
}

void Reclaimer::try_start() {
  if (!is_running_ && !runs_.empty() && state_.transfers.is_previous_over()) {
    is_running_ = true;
    advance();
  }
}

void Reclaimer::woken(Waiter& waiter, IoStatus status) {
  auto& self = *static_cast<Reclaimer*>(waiter.context);
  if (status == IoStatus::kOk) {
    self.advance();
  } else {
    self.abandon();
  }
}

// The clusters stay in use: a leak, which a check finds.
void Reclaimer::abandon() {
  log::warning("{}: some clusters could not be given back, and stay in use", state_.path);
  runs_.clear();
  released_ = {};
  is_running_ = false;
}

void Reclaimer::advance() {
  while (next_ < runs_.size()) {
    if (!step()) {
      return;
    }
  }
  runs_.clear();
  is_running_ = false;
}

// False: to go on later, or abandoned.
bool Reclaimer::step() {
  if (released_.count > 0) {
    return release();
  }
  ClusterRun& run = runs_[next_];
  if (run.count == 0) {
    ++next_;
    return true;
  }
  const Refcounts::Count count = refcounts_.count(run.first, run.count, waiter_);
  if (count.outcome == Outcome::kWait) {
    return false;
  }
  if (count.outcome == Outcome::kError) {
    abandon();
    return false;
  }
  if (count.value == 0) {
    state_.mark_corrupt(fmt::format("cluster at offset {:#x} was in use, and has a refcount of 0",
                                    run.first << state_.format.cluster_bits));
    run.first += count.same;
    run.count -= count.same;
    return true;
  }
  const uint32_t bits = state_.format.cluster_bits;
  const ClusterRun same{.first = run.first, .count = count.same};
  run.first += count.same;
  run.count -= count.same;
  if (state_.map.overlaps(same.first << bits, same.count << bits)) {
    // Some entry pointed at metadata: punched out, the image would be lost.
    state_.mark_corrupt(
        fmt::format("metadata near offset {:#x} were given up as if they were data", same.first << bits));
    return true;
  }
  released_ = same;
  if (count.value > 1) {
    return release();
  }
  for (uint64_t cluster = released_.first; cluster < released_.first + released_.count; ++cluster) {
    if (state_.map.may_be_table(cluster)) {
      l2_cache_.forget(cluster << bits, state_.cluster_bytes());
      refcounts_.cache().forget(cluster << bits, state_.cluster_bytes());
    }
  }
  request_.op = BlockOp::kDiscard;
  request_.offset = FileOffset(released_.first << bits);
  request_.length_bytes = released_.count << bits;
  state_.file.submit(request_);
  return false;
}

void Reclaimer::discarded(FileRequest& request, IoStatus /*a discard is a hint*/) {
  Reclaimer& self = *static_cast<Request&>(request).owner;
  self.advance();
}

bool Reclaimer::release() {
  if (refcounts_.release(released_, waiter_) == Outcome::kWait) {
    return false;
  }
  released_ = {};
  return true;
}

}  // namespace vmm::block::qcow2
