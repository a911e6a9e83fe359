// ThreadEngine: file operations by a small pool of threads, for hosts without io_uring and for calls that
// io_uring does not have. See engine.h for threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include "block/engine/engine.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/base/unique_fd.h"

namespace vmm::block {

class ThreadEngine final : public Engine, private EventLoop::Poller {
 public:
  static Result<std::shared_ptr<Engine>> create(EventLoop& loop);
  ~ThreadEngine() override;
  ThreadEngine(const ThreadEngine&) = delete;
  ThreadEngine& operator=(const ThreadEngine&) = delete;

  EngineKind kind() const override { return EngineKind::kThreads; }
  void submit(FileOperation& operation) override;
  void finish_later(FileOperation& operation, IoStatus status) override;
  uint32_t in_flight() const override { return in_flight_; }

 private:
  ThreadEngine(EventLoop& loop, EventFd completed);

  bool poll() override;
  void hand_over() VMM_EXCLUDES(mutex_);
  void take_completed() VMM_EXCLUDES(mutex_);
  void tell_finished();
  bool start_worker();
  void work() VMM_EXCLUDES(mutex_);

  // Constant after construction.
  EventLoop& loop_;
  EventFd completed_event_;

  // The loop's thread only.
  EventLoop::Watch watch_;
  OperationQueue submitted_;  // since the last turn
  uint32_t submitted_count_ = 0;
  OperationQueue finished_;  // with a status, to be told
  uint32_t in_flight_ = 0;
  std::vector<std::thread> workers_;

  std::counting_semaphore<> work_available_{0};
  std::atomic<bool> is_stopping_{false};
  Mutex mutex_;
  OperationQueue queue_ VMM_GUARDED_BY(mutex_);
  OperationQueue completed_ VMM_GUARDED_BY(mutex_);
};

}  // namespace vmm::block
