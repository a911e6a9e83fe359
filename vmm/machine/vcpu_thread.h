// VcpuThread: the thread of one vCPU. It is parked (the guest does not run, registers may be read and set by
// the main thread) or running.
//
// Threads: the methods are called by the main thread, request_park() by any.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "vmm/base/error.h"
#include "vmm/kvm/vcpu.h"

namespace vmm {

class VcpuThread {
 public:
  // Called on the vCPU's thread when the vCPU stopped by itself (not kKicked); the thread then parks.
  using OnStop = std::function<void(VcpuStop)>;

  VcpuThread(std::unique_ptr<Vcpu> vcpu, OnStop on_stop);
  // Parks and ends the thread.
  ~VcpuThread();
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  // Begins the thread, parked.
  void start(unsigned index);
  // REQUIRES: started.
  pthread_t handle() { return thread_.native_handle(); }
  // Its number in the kernel (gettid(2)). REQUIRES: started.
  int number() const { return number_.load(); }
  // Any thread.
  const ExitCounters& exits() const { return vcpu_->exits(); }
  void resume();
  void request_park();
  void wait_parked();

  // REQUIRES: parked.
  Vcpu& vcpu() { return *vcpu_; }

 private:
  enum class Wish : uint8_t { kPark, kRun, kEnd };
  void thread_main();
  bool wait_for_run();

  std::unique_ptr<Vcpu> vcpu_;
  OnStop on_stop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Wish wish_ = Wish::kPark;  // guarded by mutex_, as is is_parked_
  bool is_parked_ = true;
  std::atomic<int> number_ = 0;
  std::thread thread_;
};

}  // namespace vmm
