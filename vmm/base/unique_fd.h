// UniqueFd: the owner of one file descriptor. EventFd: a counter that wakes another thread or the kernel.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "vmm/base/error.h"

namespace vmm {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset() {
    if (fd_ >= 0) {
      ::close(std::exchange(fd_, -1));
    }
  }

 private:
  int fd_ = -1;
};

// A non-blocking, close-on-exec eventfd. signal() may be called from any thread.
class EventFd {
 public:
  static Result<EventFd> create() {
    UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd) {
      return fail("cannot create an eventfd: {}", errno_text(errno));
    }
    return EventFd(std::move(fd));
  }

  int fd() const { return fd_.get(); }

  void signal() const {
    const uint64_t one = 1;
    // Full (EAGAIN) means that the reader has been told already.
    [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);
  }

  // The sum of the signals since the last call; 0 if there were none.
  uint64_t drain() const {
    uint64_t count = 0;
    return ::read(fd_.get(), &count, sizeof count) == sizeof count ? count : 0;
  }

 private:
  explicit EventFd(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace vmm
