// EventLoop: one thread's wait for descriptors, timers and posted work (epoll(7)).
//
// Threads: an EventLoop belongs to the thread that calls run(); before run() starts, to the thread that made
// it. Only post(), stop() and a Timer's arm() and disarm() may be called from other threads. Handlers run on
// the loop's thread, never nested.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/base/unique_fd.h"

namespace vmm {

class EventLoop {
 public:
  // Gets the EPOLL… events that came.
  using Handler = std::function<void(uint32_t events)>;
  using Task = std::function<void()>;
  using Duration = std::chrono::nanoseconds;

  // Called at every turn, after the handlers and before the loop sleeps: the place to submit what handlers
  // queued and to look at rings without a system call. Returns true if it did something, then the loop turns
  // again at once.
  class Poller {
   public:
    virtual bool poll() = 0;

   protected:
    ~Poller() = default;
  };

  // Told of an edge-triggered descriptor's signals.
  class EdgeSink {
   public:
    virtual void on_edge() = 0;

   protected:
    ~EdgeSink() = default;
  };

  // Sleeps in place of epoll_pwait2, where another wait (an io_uring's) can watch the epoll descriptor and
  // do more in the same system call.
  class Sleeper {
   public:
    // Watches an edge-triggered descriptor (EPOLLIN | EPOLLET) by itself, so that its signal costs no call
    // of epoll. After remove_edge() the sink is not told any more.
    virtual void add_edge(int fd, EdgeSink& sink) = 0;
    virtual void remove_edge(EdgeSink& sink) = 0;

    // Waits at most `timeout` (negative: for ever; 0: only looks) for the epoll descriptor or for business
    // of its own, which it does. Returns true if the epoll descriptor may have events.
    virtual bool sleep(int epoll_fd, Duration timeout) = 0;

   protected:
    ~Sleeper() = default;
  };

 private:
  struct Entry final : EdgeSink {
    void on_edge() override {
      if (is_live) {
        handler(EPOLLIN);
      }
    }

    int fd = -1;
    uint32_t events = 0;
    Handler handler;
    bool is_live = true;
    bool is_with_sleeper = false;  // else with epoll
  };

 public:
  // Watches one descriptor (which it does not own) until destroyed. Must not outlive its loop.
  class Watch {
   public:
    Watch() = default;
    Watch(Watch&& other) noexcept;
    Watch& operator=(Watch&& other) noexcept;
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() { reset(); }

    void set_events(uint32_t events);
    void reset();
    explicit operator bool() const { return entry_ != nullptr; }

   private:
    friend class EventLoop;
    Watch(EventLoop* loop, std::shared_ptr<Entry> entry) : loop_(loop), entry_(std::move(entry)) {}
    EventLoop* loop_ = nullptr;
    std::shared_ptr<Entry> entry_;
  };

  // Calls its handler once, after each arm(). Must not outlive its loop. arm() and disarm() from any thread.
  class Timer {
   public:
    Timer() = default;
    void arm(Duration delay);  // replaces an earlier arm(); a delay of 0 or less is due at the next turn
    void disarm();

   private:
    friend class EventLoop;
    UniqueFd fd_;
    Watch watch_;
  };

  static Result<std::unique_ptr<EventLoop>> create();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // events: EPOLLIN, EPOLLOUT… (level-triggered unless EPOLLET is given).
  [[nodiscard]] Result<Watch> watch(int fd, uint32_t events, Handler handler);
  [[nodiscard]] Result<Timer> make_timer(Task on_due);
  void add_poller(Poller& poller);
  void remove_poller(Poller& poller);
  // nullptr takes it away; watches that it had go back to epoll. REQUIRES: no other sleeper is set.
  void set_sleeper(Sleeper* sleeper);

  // Runs the task on the loop's thread, in the order of posting; any thread. A task posted to a loop that
  // does not run waits for its next turn.
  void post(Task task) VMM_EXCLUDES(posted_mutex_);

  // Runs until stop(). May be called again after that.
  void run();
  // One turn: waits at most `timeout` (negative: for ever) for events and handles them.
  void run_once(Duration timeout);
  // Makes run() return after the present turn; any thread.
  void stop();

 private:
  EventLoop(UniqueFd epoll, EventFd wakeup);
  void run_posted() VMM_EXCLUDES(posted_mutex_);
  bool run_pollers();
  void run_handlers(Duration timeout);
  bool add_to_epoll(Entry& entry);
  void remove_from_epoll(const Entry& entry);
  void move_to_sleeper(Entry& entry);

  // Constant after construction.
  UniqueFd epoll_;
  EventFd wakeup_;

  // The loop's thread only.
  std::vector<std::shared_ptr<Entry>> entries_;
  bool has_dead_entries_ = false;
  std::vector<Poller*> pollers_;
  Sleeper* sleeper_ = nullptr;
  Watch wakeup_watch_;

  std::atomic<bool> stop_requested_{false};
  Mutex posted_mutex_;
  std::deque<Task> posted_ VMM_GUARDED_BY(posted_mutex_);
};

}  // namespace vmm
