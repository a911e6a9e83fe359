#include "block/engine/thread_engine.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <system_error>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::block {
namespace {

// As many operations as a disk gets at once.
constexpr size_t kMaxWorkers = 8;

int64_t or_errno(ssize_t result) { return result < 0 ? -static_cast<int64_t>(errno) : result; }

int64_t transfer(FileOperation& operation) {
  const int fd = operation.file->fd.get();
  const FilePart part = next_part(operation);
  const auto count = static_cast<int>(part.buffers.size());
  const auto offset = static_cast<off_t>(part.offset.bytes());
  if (operation.op == FileOp::kRead) {
    return or_errno(::preadv(fd, part.buffers.data(), count, offset));
  }
  return or_errno(
      ::pwritev2(fd, part.buffers.data(), count, offset, operation.force_unit_access ? RWF_DSYNC : 0));
}

int64_t allocate(const FileOperation& operation, int mode) {
  return or_errno(::fallocate(operation.file->fd.get(), mode, static_cast<off_t>(operation.offset.bytes()),
                              static_cast<off_t>(operation.length_bytes)));
}

int64_t call_kernel(FileOperation& operation) {
  switch (operation.op) {
    case FileOp::kRead:
    case FileOp::kWrite:
      return transfer(operation);
    case FileOp::kSync:
      return or_errno(::fdatasync(operation.file->fd.get()));
    case FileOp::kPunchHole:
      return allocate(operation, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    case FileOp::kZeroRange:
      return allocate(operation, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
    case FileOp::kDiscardBlocks: {
      std::array<uint64_t, 2> range = {operation.offset.bytes(), operation.length_bytes};
      return or_errno(::ioctl(operation.file->fd.get(), BLKDISCARD, range.data()));
    }
  }
  return -EINVAL;
}

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
