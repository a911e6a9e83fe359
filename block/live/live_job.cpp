#include "block/live/live_job.h"

#include <utility>

#include "block/copy/disk.h"

namespace vmm::block {

LiveJob::~LiveJob() {
  if (copy_ != nullptr) {
    disk_.set_watcher(nullptr);
  }
}

void LiveJob::enter(State state, const std::string& error) {
  state_ = state;
  disk_.loop().post([self = std::weak_ptr(self_), state, error] {
    if (const auto job = self.lock()) {
      (*job)->on_state_(state, error);
    }
  });
}

void LiveJob::when_quiet(std::function<void(IoStatus flushed)> task) {
  disk_.when_quiet([self = std::weak_ptr(self_), task = std::move(task)](IoStatus flushed) {
    if (self.lock() != nullptr) {
      task(flushed);
    }
  });
}

// --- The beginning ---

void LiveJob::begin() {
  all_bytes_ = disk_.size_bytes();
  when_quiet([this](IoStatus flushed) {
    if (is_cancelled_) {
      enter(State::kCancelled);
      return;
    }
    const Status started = flushed == IoStatus::kOk ? start()
                                                    : fail("{}: what was written to it cannot be flushed: {}",
                                                           disk_.options().path, status_text(flushed));
    if (!started) {
      undo(/*is_whole=*/false);
      enter(State::kFailed, started.error().message());
    }
  });
}

Status LiveJob::start_copy(LiveCopy::Plan plan) {
  plan.done_bytes = &done_bytes_;
  all_bytes_ = plan.source->size_bytes();
  VMM_ASSIGN_OR_RETURN(copy_, LiveCopy::create(disk_, std::move(plan),
                                               [this, self = std::weak_ptr(self_)](const Status& status) {
                                                 if (self.lock() != nullptr) {
                                                   copy_ended(status);
                                                 }
                                               }));
  copy_->set_paused(is_paused_);
  copy_->set_speed(bytes_per_second_);
  disk_.set_watcher(copy_.get());
  copy_->start();
  return {};
}

// --- Its control ---

void LiveJob::set_paused(bool is_paused) {
  is_paused_ = is_paused;
  if (copy_ != nullptr) {
    copy_->set_paused(is_paused);
  }
}

void LiveJob::set_speed(uint64_t bytes_per_second) {
  bytes_per_second_ = bytes_per_second;
  if (copy_ != nullptr) {
    copy_->set_speed(bytes_per_second);
  }
}

Status LiveJob::complete() {
  if (state_ != State::kReady) {
    return fail("the job is not ready to be completed");
  }
  begin_finish();
  return {};
}

void LiveJob::cancel() {
  if (state_ == State::kRunning || state_ == State::kReady) {
    begin_undo(State::kCancelled, "");
  }
}

void LiveJob::abandon() {
  is_cancelled_ = true;
  if (copy_ != nullptr && state_ != State::kEnding) {
    copy_->stop();
  }
}

bool LiveJob::is_quiet() const {
  return has_ended() ||
         (state_ != State::kEnding && !disk_.is_held() && (copy_ == nullptr || copy_->is_quiet()));
}

// --- The end ---

void LiveJob::copy_ended(const Status& status) {
  if (state_ != State::kRunning && state_ != State::kReady) {
    return;
  }
  if (!status) {
    begin_undo(State::kFailed, status.error().message());
  } else if (waits_when_copied()) {
    enter(State::kReady);
  } else {
    begin_finish();
  }
}

void LiveJob::end_copy() {
  fault_ = copy_->fault();
  disk_.set_watcher(nullptr);
  copy_.reset();
}

void LiveJob::begin_finish() {
  enter(State::kEnding);
  when_quiet([this](IoStatus flushed) {
    const Status copied = copy_->status();
    end_copy();
    if (!copied || flushed != IoStatus::kOk) {
      undo(/*is_whole=*/false);
      enter(State::kFailed, copied
                                ? fmt::format("what was copied cannot be flushed: {}", status_text(flushed))
                                : copied.error().message());
      return;
    }
    const Status finished = finish();
    enter(finished ? State::kDone : State::kFailed, finished ? "" : finished.error().message());
  });
}

void LiveJob::begin_undo(State state, const std::string& error) {
  if (copy_ == nullptr) {
    is_cancelled_ = true;
    return;
  }
  const bool was_ready = state_ == State::kReady;
  enter(State::kEnding);
  copy_->stop();
  when_quiet([this, state, error, was_ready](IoStatus flushed) {
    const bool is_whole = was_ready && copy_->is_whole() && flushed == IoStatus::kOk;
    end_copy();
    undo(is_whole);
    enter(state, error);
  });
}

}  // namespace vmm::block
