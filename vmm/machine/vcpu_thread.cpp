#include "vmm/machine/vcpu_thread.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "vmm/machine/io_thread.h"

namespace vmm {

VcpuThread::VcpuThread(std::unique_ptr<Vcpu> vcpu, OnStop on_stop)
    : vcpu_(std::move(vcpu)), on_stop_(std::move(on_stop)) {}

VcpuThread::~VcpuThread() {
  if (!thread_.joinable()) {
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    wish_ = Wish::kEnd;
  }
  changed_.notify_all();
  vcpu_->kick(thread_.native_handle());
  thread_.join();
}

void VcpuThread::start(unsigned index) {
  thread_ = std::thread([this, index] {
    number_ = ::gettid();
    name_this_thread(fmt::format("vcpu-{}", index));
    thread_main();
  });
}

void VcpuThread::resume() {
  {
    const std::lock_guard lock(mutex_);
    wish_ = Wish::kRun;
  }
  changed_.notify_all();
}

void VcpuThread::request_park() {
  {
    const std::lock_guard lock(mutex_);
    if (wish_ == Wish::kRun) {
      wish_ = Wish::kPark;
    }
  }
  // Where the thread is on its way into the guest, the kick makes it come back at once; where it is parked,
  // the next run comes back once for nothing.
  if (thread_.joinable()) {
    vcpu_->kick(thread_.native_handle());
  }
}

void VcpuThread::wait_parked() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return is_parked_; });
}

bool VcpuThread::wait_for_run() {
  std::unique_lock lock(mutex_);
  if (wish_ == Wish::kPark) {
    is_parked_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return wish_ != Wish::kPark; });
  }
  is_parked_ = wish_ != Wish::kRun;
  if (is_parked_) {
    changed_.notify_all();
  }
  return !is_parked_;
}

void VcpuThread::thread_main() {
  while (wait_for_run()) {
    const VcpuStop stop = vcpu_->run();
    if (stop == VcpuStop::kKicked) {
      continue;
    }
    {
      const std::lock_guard lock(mutex_);
      if (wish_ == Wish::kRun) {
        wish_ = Wish::kPark;
      }
    }
    on_stop_(stop);
  }
}

}  // namespace vmm
