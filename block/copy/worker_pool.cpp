#include "block/copy/worker_pool.h"

#include <sched.h>

#include <algorithm>
#include <utility>

namespace vmm::block {
namespace {

size_t processors() {
  cpu_set_t set{};
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<size_t>(CPU_COUNT(&set)) : 1;
}

}  // namespace

WorkerPool::WorkerPool(EventLoop& loop, size_t most) : loop_(loop) {
  const size_t count = std::clamp<size_t>(processors(), 1, std::max<size_t>(most, 1));
  workers_.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    workers_.emplace_back([this, i] { serve(i); });
  }
}

WorkerPool::~WorkerPool() {
  is_stopping_ = true;
  available_.release(static_cast<std::ptrdiff_t>(workers_.size()));
  for (std::thread& worker : workers_) {
    worker.join();
  }
}

void WorkerPool::run(Work work, EventLoop::Task done) {
  {
    const MutexLock lock(mutex_);
    items_.push_back({.work = std::move(work), .done = std::move(done)});
  }
  available_.release();
}

void WorkerPool::serve(size_t worker) {
  for (;;) {
    available_.acquire();
    if (is_stopping_) {
      return;
    }
    Item item;
    {
      const MutexLock lock(mutex_);
      item = std::move(items_.front());
      items_.pop_front();
    }
    item.work(worker);
    loop_.post(std::move(item.done));
  }
}

}  // namespace vmm::block
