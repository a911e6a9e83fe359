// An event loop on a thread of its own, and a bounded wait for what it does: for tests with real threads.
#pragma once

#include <chrono>
#include <thread>

#include "vmm/base/event_loop.h"

namespace vmm {

class LoopThread {
 public:
  explicit LoopThread(EventLoop& loop) : loop_(loop), thread_([&loop] { loop.run(); }) {}
  ~LoopThread() {
    loop_.stop();
    thread_.join();
  }
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

 private:
  EventLoop& loop_;
  std::thread thread_;
};

// False: the condition did not come true in a minute.
template <typename Condition>
bool eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) {
      return false;
    }
    std::this_thread::yield();
  }
  return true;
}

}  // namespace vmm
