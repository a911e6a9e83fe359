// IoThread: a thread with an EventLoop of its own: the owner of disks and their queues.
//
// Threads: made, asked and destroyed by the main thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"

namespace vmm {

class IoThread {
 public:
  // The loop does not turn before start(), so that what it will own can be made by the main thread.
  static Result<std::unique_ptr<IoThread>> create(std::string name);
  // Stops and joins. REQUIRES: nothing is in flight on the loop.
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  EventLoop& loop() { return *loop_; }
  void start();
  // Runs the task on the loop's thread and waits for it.
  void run_and_wait(const std::function<void()>& task);
  // After this the main thread is the owner again of what the loop owned, and may destroy it.
  void stop();

 private:
  IoThread(std::string name, std::unique_ptr<EventLoop> loop);

  const std::string name_;
  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
};

// For ps, top and debuggers; at most 15 characters are kept.
void name_this_thread(const std::string& name);

}  // namespace vmm
