#include "block/qcow2/table_maker.h"

#include <cstring>

namespace vmm::block::qcow2 {
TableMaker::TableMaker(ImageState& state, Refcounts& refcounts, TableCache& l2_cache)
    : state_(state), refcounts_(refcounts), l2_cache_(l2_cache) {
  request_.owner = this;
  request_.done = request_done;
  waiter_.wake = woken;
  waiter_.context = this;
}

void TableMaker::make(uint32_t l1_index, Waiter& waiter) {
  waiters_.push(waiter);
  if (is_running_) {
    return;
  }
  is_running_ = true;
  l1_index_ = l1_index;
  place_ = {};
  if (memory_ == nullptr) {
    memory_ = make_aligned_memory(static_cast<size_t>(state_.cluster_bytes()));
  }
  allocate();
}

void TableMaker::woken(Waiter& waiter, IoStatus status) {
  auto& self = *static_cast<TableMaker*>(waiter.context);
  if (status == IoStatus::kOk) {
    self.allocate();
  } else {
    self.finish(status);
  }
}

void TableMaker::allocate() {
  const Refcounts::Allocation allocation = refcounts_.allocate(1, waiter_);
  if (allocation.outcome == Outcome::kWait) {
    return;
  }
  // Errors come back through the queue, as everything else does: whoever called is still in its own step.
  const bool is_bad = allocation.outcome == Outcome::kError || memory_ == nullptr;
  place_ = allocation.run;
  if (is_bad) {
    state_.file.finish_later(request_,
                             allocation.outcome == Outcome::kError ? allocation.status : IoStatus::kIoError);
    return;
  }
  const uint64_t old = state_.l1[l1_index_] & kEntryOffsetMask;
  if (old != 0) {
    submit(BlockOp::kRead, old);
  } else {
    std::memset(memory_.get(), 0, static_cast<size_t>(state_.cluster_bytes()));
    submit(BlockOp::kWrite, place_.first << state_.format.cluster_bits);
  }
}

void TableMaker::submit(BlockOp op, uint64_t offset) {
  vector_ = {.iov_base = memory_.get(), .iov_len = static_cast<size_t>(state_.cluster_bytes())};
  request_.op = op;
  request_.offset = FileOffset(offset);
  request_.length_bytes = state_.cluster_bytes();
  request_.buffers = std::span<const iovec>(&vector_, 1);
  state_.file.submit(request_);
}

void TableMaker::request_done(FileRequest& request, IoStatus status) {
  TableMaker& self = *static_cast<Request&>(request).owner;
  if (status != IoStatus::kOk) {
    self.finish(status);
  } else if (request.op == BlockOp::kRead) {
    self.submit(BlockOp::kWrite, self.place_.first << self.state_.format.cluster_bits);
  } else {
    self.install();
    self.finish(IoStatus::kOk);
  }
}

// The disk learns of it by the next commit, which begins with making durable what was written here.
void TableMaker::install() {
  const uint64_t offset = place_.first << state_.format.cluster_bits;
  const uint64_t old = state_.l1[l1_index_] & kEntryOffsetMask;
  l2_cache_.forget(offset, state_.cluster_bytes());
  state_.map.note_table(offset);
  state_.l1[l1_index_] = offset | kEntryCopied;
  state_.dirty_l1.push_back(l1_index_);
  if (old != 0) {
    state_.dropped.push_back({.first = state_.cluster_of(old), .count = 1});
  }
}

void TableMaker::finish(IoStatus status) {
  if (status != IoStatus::kOk && place_.count > 0) {
    state_.dropped.push_back(place_);
  }
  is_running_ = false;
  waiters_.wake_all(status);
}

}  // namespace vmm::block::qcow2
