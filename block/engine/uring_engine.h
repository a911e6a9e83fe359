// UringEngine: file operations by io_uring(7), and the sleep of the loop that it serves.
//
// The loop sleeps in the ring, which also watches the loop's epoll descriptor: one io_uring_enter(2) hands
// over what was queued, waits, and brings back what is done. Where many reads of a disk are queued at once,
// the first ones are handed over before. A lone read or write may be done by the loop's thread itself
// (lone_operations.h). See engine.h for threads.
#pragma once

#include <liburing.h>
#include <pthread.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "block/engine/engine.h"
#include "block/engine/lone_operations.h"

namespace vmm::block {

class ThreadEngine;

class UringEngine final : public Engine, private EventLoop::Poller, private EventLoop::Sleeper {
 public:
  // Fails where the kernel has no io_uring, or too little of it, or does not allow it.
  // REQUIRES: the loop has no other UringEngine.
  static Result<std::shared_ptr<Engine>> create(EventLoop& loop);
  ~UringEngine() override;
  UringEngine(const UringEngine&) = delete;
  UringEngine& operator=(const UringEngine&) = delete;

  EngineKind kind() const override { return EngineKind::kIoUring; }
  void submit(FileOperation& operation) override;
  void finish_later(FileOperation& operation, IoStatus status) override;
  uint32_t in_flight() const override { return in_flight_; }

 private:
  UringEngine(EventLoop& loop, const io_uring& ring);

  bool poll() override;
  void add_edge(int fd, EventLoop::EdgeSink& sink) override;
  void remove_edge(EventLoop::EdgeSink& sink) override;
  bool sleep(int epoll_fd, EventLoop::Duration timeout) override;

  // An edge-triggered descriptor, watched by a poll request of the ring that stays (multishot).
  struct Edge {
    int fd = -1;
    EventLoop::EdgeSink* sink = nullptr;  // nullptr: nobody is to be told
    bool is_armed = false;                // the kernel has the request
    bool is_cancelled = false;            // and has been told to end it
  };

  bool is_this_thread() const;
  void use_this_thread();
  void arm_edges();
  void take_edge(size_t index, int result, bool is_last);
  void watch_epoll(int epoll_fd);
  void place_workers();
  void fill_submission_queue();
  void hand_over();
  FileOperation* lone_operation();
  void do_here(FileOperation& operation);
  bool has_news() const;
  void prepare(io_uring_sqe& sqe, FileOperation& operation);
  void enter(EventLoop::Duration timeout);
  void reap();
  void take_completion(uint64_t tag, int result, bool is_last);
  void take_result(FileOperation& operation, int64_t result);
  void submit_blocking(FileOperation& operation);

  EventLoop& loop_;
  io_uring ring_;
  // The kernel takes work for a ring from one thread only (IORING_SETUP_SINGLE_ISSUER).
  bool is_enabled_ = false;
  pthread_t thread_{};

  OperationQueue waiting_;      // for a place in the submission queue
  uint32_t waiting_reads_ = 0;  // of them, and past the page cache
  OperationQueue finished_;     // with a status, to be told at the next turn
  uint32_t in_flight_ = 0;
  uint32_t in_ring_ = 0;  // operations that the kernel holds
  LoneOperations lone_operations_;
  bool is_epoll_watched_ = false;
  bool are_workers_placed_ = false;
  bool is_epoll_ready_ = false;
  // A place is free when it has no sink and is not armed.
  std::vector<Edge> edges_;
  bool edges_changed_ = false;
  std::shared_ptr<Engine> blocking_;  // for what io_uring cannot do; made when needed
};

}  // namespace vmm::block
