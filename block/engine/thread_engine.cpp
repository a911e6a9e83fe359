#include "block/engine/thread_engine.h"

#include <pthread.h>

#include <csignal>
#include <optional>
#include <system_error>
#include <utility>

#include "block/engine/system_call.h"
#include "vmm/base/check.h"

namespace vmm::block {
namespace {

// As many operations as a disk gets at once.
constexpr size_t kMaxWorkers = 8;

IoStatus perform(FileOperation& operation) {
  std::optional<IoStatus> status;
  while (!status) {
    status = accept_result(operation, call_kernel(operation));
  }
  return *status;
}

// Signals are for the thread that waits for them, never for a worker.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all{};
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace

ThreadEngine::ThreadEngine(EventLoop& loop, EventFd completed)
    : loop_(loop), completed_event_(std::move(completed)) {
  loop_.add_poller(*this);
}

Result<std::shared_ptr<Engine>> ThreadEngine::create(EventLoop& loop) {
  VMM_ASSIGN_OR_RETURN(EventFd completed, EventFd::create());
  std::shared_ptr<ThreadEngine> engine(new ThreadEngine(loop, std::move(completed)));
  ThreadEngine* raw = engine.get();
  VMM_ASSIGN_OR_RETURN(engine->watch_, loop.watch(engine->completed_event_.fd(), EPOLLIN, [raw](uint32_t) {
    raw->completed_event_.drain();
    raw->take_completed();
  }));
  if (!engine->start_worker()) {
    return fail("the host gives no thread for disk operations; raise its limit on processes (ulimit -u)");
  }
  return engine;
}

ThreadEngine::~ThreadEngine() {
  VMM_CHECK(in_flight_ == 0, "an engine was destroyed with operations in flight");
  is_stopping_ = true;
  work_available_.release(static_cast<std::ptrdiff_t>(workers_.size()));
  for (std::thread& worker : workers_) {
    worker.join();
  }
  loop_.remove_poller(*this);
}

void ThreadEngine::submit(FileOperation& operation) {
  ++in_flight_;
  start_operation(operation);
  submitted_.push(operation);
  ++submitted_count_;
}

void ThreadEngine::finish_later(FileOperation& operation, IoStatus status) {
  ++in_flight_;
  operation.status = status;
  finished_.push(operation);
}

bool ThreadEngine::poll() {
  const bool has_finished = !finished_.empty();
  tell_finished();
  hand_over();
  return has_finished;
}

void ThreadEngine::hand_over() {
  if (submitted_count_ == 0) {
    return;
  }
  while (workers_.size() < std::min<size_t>(in_flight_, kMaxWorkers) && start_worker()) {
  }
  {
    const MutexLock lock(mutex_);
    queue_.append(std::move(submitted_));
  }
  work_available_.release(std::exchange(submitted_count_, 0));
}

void ThreadEngine::take_completed() {
  const MutexLock lock(mutex_);
  finished_.append(std::move(completed_));
}

void ThreadEngine::tell_finished() {
  OperationQueue finished(std::move(finished_));
  while (FileOperation* operation = finished.pop()) {
    --in_flight_;
    operation->done(*operation, operation->status);
  }
}

bool ThreadEngine::start_worker() {
  const SignalsBlocked blocked;
  try {
    workers_.emplace_back([this] { work(); });
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

void ThreadEngine::work() {
  for (;;) {
    work_available_.acquire();
    if (is_stopping_) {
      return;
    }
    FileOperation* operation = nullptr;
    {
      const MutexLock lock(mutex_);
      operation = queue_.pop();
    }
    operation->status = perform(*operation);
    bool is_first = false;
    {
      const MutexLock lock(mutex_);
      is_first = completed_.empty();
      completed_.push(*operation);
    }
    // One signal for all that are done until the loop looks.
    if (is_first) {
      completed_event_.signal();
    }
  }
}

}  // namespace vmm::block
