#include "devices/ide/drive_io.h"

#include <utility>

namespace vmm::ide {

void DriveIo::start(DiskJob job) {
  {
    const MutexLock lock(mutex_);
    if (job.number <= orders_.newest_number) {
      return;
    }
    orders_.newest_number = job.number;
    orders_.job = std::move(job);
  }
  outdate_current();
  wake_loop();
}

void DriveIo::outdate_current() {
  if (has_current_ && !drops_soon_.exchange(true)) {
    loop_.post([this] { drop_outdated(); });
  }
}

void DriveIo::drop_outdated() {
  drops_soon_ = false;
  uint64_t newest = 0;
  {
    const MutexLock lock(mutex_);
    newest = orders_.newest_number;
  }
  if (is_submitted_ && !result_ && disk_ != nullptr && current_->number < newest) {
    disk_->drop_waiting();
  }
}

void DriveIo::quiesce(std::function<void()> on_quiet) {
  {
    const MutexLock lock(mutex_);
    VMM_CHECK(!orders_.is_quiesced, "a drive was quiesced twice");
    orders_.is_quiesced = true;
    orders_.on_quiet = std::move(on_quiet);
  }
  wake_loop();
}

void DriveIo::resume() {
  {
    const MutexLock lock(mutex_);
    orders_.is_quiesced = false;
    orders_.on_quiet = nullptr;
  }
  wake_loop();
}

void DriveIo::change_disk(block::BlockDevice* disk, uint64_t void_jobs, std::function<void()> on_changed) {
  {
    const MutexLock lock(mutex_);
    if (orders_.newest_number <= void_jobs) {
      orders_.newest_number = void_jobs;
      orders_.job.reset();
    }
    orders_.changes.push_back({.disk = disk, .on_changed = std::move(on_changed)});
  }
  outdate_current();
  wake_loop();
}

void DriveIo::wake_loop() {
  {
    const MutexLock lock(mutex_);
    if (std::exchange(orders_.is_watched, true)) {
      return;
    }
  }
  loop_.post([this] { turn(); });
}

void DriveIo::turn() {
  // A disk may complete a job in submit(): the turn that submitted it goes on with it.
  if (std::exchange(is_in_turn_, true)) {
    return;
  }
  while (step()) {
  }
  is_in_turn_ = false;
}

// False: there is nothing to do until a job ends, or somebody wakes the loop.
bool DriveIo::step() {
  if (result_) {
    const block::IoStatus status = *std::exchange(result_, std::nullopt);
    DiskJob job = *std::exchange(current_, std::nullopt);
    is_submitted_ = false;
    has_current_ = false;
    client_.job_done(std::move(job), status);
    return true;
  }
  if (is_submitted_) {
    return false;
  }
  if (!current_) {
    return follow_orders();
  }
  if (disk_ != nullptr && !disk_->can_accept()) {
    // The place that it waits for may be held by another disk on this loop.
    loop_.post([this] { turn(); });
    return false;
  }
  submit();
  return true;
}

bool DriveIo::follow_orders() {
  std::function<void()> callback;
  {
    const MutexLock lock(mutex_);
    if (!orders_.changes.empty()) {
      disk_ = orders_.changes.front().disk;
      callback = std::move(orders_.changes.front().on_changed);
      orders_.changes.erase(orders_.changes.begin());
    } else if (orders_.is_quiesced) {
      callback = std::exchange(orders_.on_quiet, nullptr);
      if (!callback) {
        orders_.is_watched = false;
        return false;
      }
    } else if (orders_.job) {
      current_ = *std::exchange(orders_.job, std::nullopt);
      has_current_ = true;
    } else {
      orders_.is_watched = false;
      return false;
    }
  }
  if (callback) {
    callback();
  }
  return true;
}

void DriveIo::submit() {
  is_submitted_ = true;
  if (disk_ == nullptr) {
    result_ = block::IoStatus::kIoError;
    return;
  }
  block::BlockRequest request;
  request.op = current_->op;
  request.offset = current_->offset;
  request.length_bytes = current_->length_bytes;
  if (current_->op == block::BlockOp::kRead || current_->op == block::BlockOp::kWrite) {
    VMM_CHECK(current_->length_bytes <= current_->buffer.size(), "a job is larger than its buffer");
    buffer_ = {.iov_base = current_->buffer.data(), .iov_len = current_->length_bytes};
    request.buffers = std::span(&buffer_, 1);
  }
  request.force_unit_access = current_->force_unit_access;
  if (counters_ != nullptr) {
    begun_ns_ = counters_->begin();
  }
  request.completion =
      block::Completion([](void* context, uint64_t /*cookie*/,
                           block::IoStatus status) { static_cast<DriveIo*>(context)->finished(status); },
                        this, 0);
  disk_->submit(std::move(request));
}

void DriveIo::count_end(block::IoStatus status) {
  const bool has_failed = status != block::IoStatus::kOk;
  const auto kind = block::DiskCounters::kind_of(current_->op);
  counters_->end(kind, begun_ns_, current_->length_bytes, has_failed);
  if (kind == block::DiskCounters::kWrite && !has_failed) {
    counters_->note_written(current_->offset.bytes() + current_->length_bytes);
  }
}

void DriveIo::finished(block::IoStatus status) {
  if (counters_ != nullptr) {
    count_end(status);
  }
  result_ = status;
  turn();
}

}  // namespace vmm::ide
