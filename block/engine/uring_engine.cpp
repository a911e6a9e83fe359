#include "block/engine/uring_engine.h"

#include <linux/falloc.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <utility>

#include "block/engine/system_call.h"
#include "block/engine/thread_engine.h"
#include "vmm/base/check.h"

namespace vmm::block {
namespace {

// More than the disk behind it can use; the rest waits in memory.
constexpr unsigned kRingEntries = 256;

// Reads from the disk itself that are handed over together while more are queued, so that the disk works
// meanwhile. Fewer cost calls; of other operations the kernel makes larger ones when it gets them at once.
constexpr uint32_t kEarlyReads = 4;

// What a completion belongs to is told by the low bits of its tag: operations give back their address.
constexpr uint64_t kTagBits = 3;
constexpr uint64_t kOperationTag = 0;
constexpr uint64_t kEpollTag = 1;
constexpr uint64_t kEdgeTag = 2;  // above it, the index of the edge
constexpr uint64_t kNobodysTag = 3;
static_assert(alignof(FileOperation) > kTagBits);

constexpr uint64_t edge_tag(size_t index) { return static_cast<uint64_t>(index) << 2U | kEdgeTag; }

// EXT_ARG: a wait with a time limit in the same call. NODROP: no completion is lost when the queue is full.
// RSRC_TAGS came with multishot polls (Linux 5.13).
constexpr unsigned kNeededFeatures =
    IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_RSRC_TAGS;

int init_ring(io_uring& ring, unsigned flags) {
  io_uring_params parameters{};
  parameters.flags = flags | IORING_SETUP_R_DISABLED;
  const int result = io_uring_queue_init_params(kRingEntries, &ring, &parameters);
  if (result == 0 && (parameters.features & kNeededFeatures) != kNeededFeatures) {
    io_uring_queue_exit(&ring);
    return -ENOSYS;
  }
  return result;
}

// Best first: completions are worked off by the loop's own io_uring_enter (Linux 6.1), or at least without
// an interrupt to it (5.19), or as ever.
int init_best_ring(io_uring& ring) {
  constexpr std::array kChoices = {
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
      IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
      0U,
  };
  int result = -ENOSYS;
  for (const unsigned flags : kChoices) {
    result = init_ring(ring, flags);
    if (result != -EINVAL) {
      break;
    }
  }
  return result;
}

// liburing 2.3 declares io_uring_enable_rings but does not export it.
bool enable_ring(const io_uring& ring) {
  return ::syscall(SYS_io_uring_register, ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) == 0;
}

__kernel_timespec to_timespec(EventLoop::Duration duration) {
  return {.tv_sec = duration.count() / 1'000'000'000, .tv_nsec = duration.count() % 1'000'000'000};
}

}  // namespace

Result<std::shared_ptr<Engine>> UringEngine::create(EventLoop& loop) {
  io_uring ring{};
  const int result = init_best_ring(ring);
  if (result != 0) {
    return fail("this host does not give io_uring ({}; see kernel.io_uring_disabled and seccomp)",
                errno_text(-result));
  }
  return std::shared_ptr<Engine>(new UringEngine(loop, ring));
}

UringEngine::UringEngine(EventLoop& loop, const io_uring& ring) : loop_(loop), ring_(ring) {
  loop_.add_poller(*this);
  loop_.set_sleeper(this);
}

UringEngine::~UringEngine() {
  VMM_CHECK(in_flight_ == 0, "an engine was destroyed with operations in flight");
  loop_.set_sleeper(nullptr);
  loop_.remove_poller(*this);
  io_uring_queue_exit(&ring_);
}

void UringEngine::submit(FileOperation& operation) {
  ++in_flight_;
  start_operation(operation);
  if (operation.op == FileOp::kDiscardBlocks) {
    submit_blocking(operation);
    return;
  }
  waiting_.push(operation);
  if (operation.op == FileOp::kRead && operation.file->direct_alignment_bytes > 1 &&
      ++waiting_reads_ >= kEarlyReads && is_this_thread()) {
    hand_over();
    static_cast<void>(io_uring_submit(&ring_));  // what it does not take stays queued for the next turn
  }
}

void UringEngine::finish_later(FileOperation& operation, IoStatus status) {
  ++in_flight_;
  operation.status = status;
  finished_.push(operation);
}

bool UringEngine::poll() {
  if (finished_.empty()) {
    return false;
  }
  OperationQueue finished(std::move(finished_));
  while (FileOperation* operation = finished.pop()) {
    --in_flight_;
    operation->done(*operation, operation->status);
  }
  return true;
}

bool UringEngine::sleep(int epoll_fd, EventLoop::Duration timeout) {
  use_this_thread();
  watch_epoll(epoll_fd);
  if (!are_workers_placed_) {
    place_workers();
  }
  FileOperation* lone = lone_operation();
  fill_submission_queue();
  if (lone != nullptr) {
    do_here(*lone);
    timeout = EventLoop::Duration(0);
  }
  enter(timeout);
  is_epoll_ready_ = false;
  reap();
  return is_epoll_ready_;
}

// The one operation there is, taken off the queue, if it is one to be done here; else nullptr.
FileOperation* UringEngine::lone_operation() {
  const FileOperation* first = waiting_.only();
  if (first == nullptr || in_ring_ != 0 || first->force_unit_access ||
      (first->op != FileOp::kRead && first->op != FileOp::kWrite) || !lone_operations_.may_be_done_here()) {
    return nullptr;
  }
  return waiting_.pop();
}

void UringEngine::do_here(FileOperation& operation) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t result = call_kernel(operation);
  lone_operations_.was_done_here(std::chrono::steady_clock::now() - start, has_news());
  take_result(operation, result);
}

// Something is in the completion queue, or will be after the next call.
bool UringEngine::has_news() const {
  const unsigned kernel_flags = IO_URING_READ_ONCE(*ring_.sq.kflags);
  return io_uring_cq_ready(&ring_) != 0 || (kernel_flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

bool UringEngine::is_this_thread() const {
  return is_enabled_ && ::pthread_equal(thread_, ::pthread_self()) != 0;
}

// A ring whose thread has changed is made anew: that is possible while the kernel holds nothing of it.
void UringEngine::use_this_thread() {
  if (is_this_thread()) {
    return;
  }
  if (is_enabled_) {
    VMM_CHECK(in_ring_ == 0, "a loop changed its thread with disk operations in flight");
    io_uring_queue_exit(&ring_);
    VMM_CHECK(init_best_ring(ring_) == 0, "io_uring was taken away");
    is_epoll_watched_ = false;
    for (Edge& edge : edges_) {
      edge.is_armed = false;
    }
    edges_changed_ = true;
  }
  VMM_CHECK(enable_ring(ring_), "a new io_uring could not be enabled");
  is_enabled_ = true;
  are_workers_placed_ = false;
  thread_ = ::pthread_self();
}

void UringEngine::add_edge(int fd, EventLoop::EdgeSink& sink) {
  auto place =
      std::ranges::find_if(edges_, [](const Edge& edge) { return edge.sink == nullptr && !edge.is_armed; });
  if (place == edges_.end()) {
    place = edges_.insert(edges_.end(), Edge{});
  }
  *place = {.fd = fd, .sink = &sink};
  edges_changed_ = true;
}

void UringEngine::remove_edge(EventLoop::EdgeSink& sink) {
  const auto place = std::ranges::find(edges_, &sink, &Edge::sink);
  VMM_CHECK(place != edges_.end(), "an edge was removed that was not there");
  place->sink = nullptr;
  edges_changed_ = true;
}

void UringEngine::arm_edges() {
  for (size_t index = 0; index < edges_.size(); ++index) {
    Edge& edge = edges_[index];
    const bool has_to_go = edge.sink == nullptr && edge.is_armed && !edge.is_cancelled;
    const bool has_to_come = edge.sink != nullptr && !edge.is_armed;
    if (!has_to_go && !has_to_come) {
      continue;
    }
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) {
      return;  // at the next turn
    }
    if (has_to_come) {
      io_uring_prep_poll_multishot(sqe, edge.fd, POLLIN);
      io_uring_sqe_set_data64(sqe, edge_tag(index));
      edge.is_armed = true;
      edge.is_cancelled = false;
    } else {
      io_uring_prep_poll_remove(sqe, edge_tag(index));
      io_uring_sqe_set_data64(sqe, kNobodysTag);
      edge.is_cancelled = true;
    }
  }
  edges_changed_ = false;
}

void UringEngine::take_edge(size_t index, int result, bool is_last) {
  Edge& edge = edges_[index];
  if (is_last) {
    // The kernel ends a multishot request when it has no room for its completions.
    edge.is_armed = false;
    edges_changed_ = true;
  }
  if (edge.sink != nullptr) {
    VMM_CHECK(result != -EBADF, "a watched descriptor was closed");
    edge.sink->on_edge();
  }
}

void UringEngine::watch_epoll(int epoll_fd) {
  if (is_epoll_watched_) {
    return;
  }
  if (io_uring_sqe* sqe = io_uring_get_sqe(&ring_)) {
    io_uring_prep_poll_add(sqe, epoll_fd, POLLIN);
    io_uring_sqe_set_data64(sqe, kEpollTag);
    is_epoll_watched_ = true;
  }
}

// The kernel's own threads, for what it cannot begin without waiting, run where this thread does: before
// Linux 6.2 they would run anywhere. It has them from the first submission on. Where it does not know of this
// call (before Linux 5.14) they stay anywhere.
void UringEngine::place_workers() {
  are_workers_placed_ = true;
  cpu_set_t cpus;
  if (io_uring_submit(&ring_) >= 0 && ::sched_getaffinity(0, sizeof(cpus), &cpus) == 0) {
    static_cast<void>(io_uring_register_iowq_aff(&ring_, sizeof(cpus), &cpus));
  }
}

void UringEngine::fill_submission_queue() {
  if (edges_changed_) {
    arm_edges();
  }
  hand_over();
}

void UringEngine::hand_over() {
  waiting_reads_ = 0;
  while (!waiting_.empty() && in_ring_ < kRingEntries) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) {
      break;
    }
    prepare(*sqe, *waiting_.pop());
    ++in_ring_;
  }
}

void UringEngine::prepare(io_uring_sqe& sqe, FileOperation& operation) {
  const int fd = operation.file->fd.get();
  switch (operation.op) {
    case FileOp::kRead:
    case FileOp::kWrite: {
      const FilePart part = next_part(operation);
      const auto count = static_cast<unsigned>(part.buffers.size());
      if (operation.op == FileOp::kRead) {
        io_uring_prep_readv(&sqe, fd, part.buffers.data(), count, part.offset.bytes());
      } else {
        io_uring_prep_writev(&sqe, fd, part.buffers.data(), count, part.offset.bytes());
        sqe.rw_flags = operation.force_unit_access ? RWF_DSYNC : 0;
      }
      break;
    }
    case FileOp::kSync:
      io_uring_prep_fsync(&sqe, fd, IORING_FSYNC_DATASYNC);
      break;
    case FileOp::kPunchHole:
      io_uring_prep_fallocate(&sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              static_cast<off_t>(operation.offset.bytes()),
                              static_cast<off_t>(operation.length_bytes));
      break;
    case FileOp::kZeroRange:
      io_uring_prep_fallocate(&sqe, fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                              static_cast<off_t>(operation.offset.bytes()),
                              static_cast<off_t>(operation.length_bytes));
      break;
    case FileOp::kDiscardBlocks:
      VMM_CHECK(false, "io_uring cannot discard blocks");
  }
  io_uring_sqe_set_data(&sqe, &operation);
}

void UringEngine::enter(EventLoop::Duration timeout) {
  // Errors (EINTR, ETIME, EBUSY, EAGAIN) leave the queues as they are; the next turn tries again.
  if (timeout.count() == 0 || io_uring_cq_ready(&ring_) != 0) {
    if (io_uring_sq_ready(&ring_) != 0 || has_news()) {
      static_cast<void>(io_uring_submit_and_get_events(&ring_));
    }
    return;
  }
  if (timeout.count() < 0) {
    static_cast<void>(io_uring_submit_and_wait(&ring_, 1));
    return;
  }
  __kernel_timespec limit = to_timespec(timeout);
  io_uring_cqe* cqe = nullptr;
  static_cast<void>(io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &limit, nullptr));
}

// Each completion is taken off the ring before it is told, so that what is told may queue more.
void UringEngine::reap() {
  unsigned left = io_uring_cq_ready(&ring_);
  for (; left > 0; --left) {
    io_uring_cqe* cqe = nullptr;
    if (io_uring_peek_cqe(&ring_, &cqe) != 0) {
      break;
    }
    const uint64_t tag = io_uring_cqe_get_data64(cqe);
    const int result = cqe->res;
    const bool is_last = (cqe->flags & IORING_CQE_F_MORE) == 0;
    io_uring_cqe_seen(&ring_, cqe);
    take_completion(tag, result, is_last);
  }
}

void UringEngine::take_completion(uint64_t tag, int result, bool is_last) {
  switch (tag & kTagBits) {
    case kOperationTag:
      --in_ring_;
      take_result(*std::bit_cast<FileOperation*>(tag), result);
      break;
    case kEpollTag:
      is_epoll_watched_ = false;
      is_epoll_ready_ = true;
      break;
    case kEdgeTag:
      take_edge(static_cast<size_t>(tag >> 2U), result, is_last);
      break;
    default:
      break;
  }
}

void UringEngine::take_result(FileOperation& operation, int64_t result) {
  const auto status = accept_result(operation, result);
  if (!status) {
    waiting_.push(operation);
    return;
  }
  --in_flight_;
  operation.done(operation, *status);
}

// From here on it is the thread pool's operation.
void UringEngine::submit_blocking(FileOperation& operation) {
  --in_flight_;
  if (blocking_ == nullptr) {
    auto engine = Engine::for_loop(loop_, EngineKind::kThreads);
    if (!engine) {
      finish_later(operation, IoStatus::kUnsupported);
      return;
    }
    blocking_ = std::move(*engine);
  }
  blocking_->submit(operation);
}

}  // namespace vmm::block
