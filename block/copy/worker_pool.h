// WorkerPool: threads for what costs processor time, as many as there are processors at most.
//
// Threads: one owner, that of the loop; tasks run on the workers, and done on the loop's thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <semaphore>
#include <thread>
#include <vector>

#include "vmm/base/event_loop.h"
#include "vmm/base/thread_annotations.h"

namespace vmm::block {

class WorkerPool {
 public:
  // Gets the number of the worker that runs it: 0 to count() - 1.
  using Work = std::function<void(size_t worker)>;

  WorkerPool(EventLoop& loop, size_t most);
  // REQUIRES: every task is done.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  size_t count() const { return workers_.size(); }
  // In the order of the calls; `done` is called on the loop's thread.
  void run(Work work, EventLoop::Task done) VMM_EXCLUDES(mutex_);

 private:
  struct Item {
    Work work;
    EventLoop::Task done;
  };
  void serve(size_t worker) VMM_EXCLUDES(mutex_);

  EventLoop& loop_;
  std::vector<std::thread> workers_;
  std::counting_semaphore<> available_{0};
  std::atomic<bool> is_stopping_{false};
  Mutex mutex_;
  std::deque<Item> items_ VMM_GUARDED_BY(mutex_);
};

}  // namespace vmm::block
