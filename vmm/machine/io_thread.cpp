#include "vmm/machine/io_thread.h"

#include <pthread.h>

#include <future>
#include <utility>

namespace vmm {

void name_this_thread(const std::string& name) {
  ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
}

IoThread::IoThread(std::string name, std::unique_ptr<EventLoop> loop)
    : name_(std::move(name)), loop_(std::move(loop)) {}

IoThread::~IoThread() { stop(); }

Result<std::unique_ptr<IoThread>> IoThread::create(std::string name) {
  VMM_ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::create());
  return std::unique_ptr<IoThread>(new IoThread(std::move(name), std::move(loop)));
}

void IoThread::start() {
  thread_ = std::thread([this] {
    name_this_thread(name_);
    loop_->run();
  });
}

void IoThread::run_and_wait(const std::function<void()>& task) {
  if (!thread_.joinable()) {
    task();
    return;
  }
  std::promise<void> done;
  loop_->post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

void IoThread::stop() {
  if (thread_.joinable()) {
    loop_->stop();
    thread_.join();
  }
}

}  // namespace vmm
