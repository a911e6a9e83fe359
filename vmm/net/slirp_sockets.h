// SlirpSockets: the sockets of one libslirp stack, watched by an EventLoop.
//
// libslirp names all sockets and what it waits for on each anew for each wait (slirp_pollfds_fill). They are
// in an epoll descriptor of their own, which the loop watches: only what differs from the last time costs a
// system call, and all are held or let go at once.
//
// Threads: the loop's.
#pragma once

#include <slirp/libslirp.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/log.h"
#include "vmm/base/unique_fd.h"
#include "vmm/net/slirp_library.h"

namespace vmm::net {

class SlirpSockets {
 public:
  // Both outlive it.
  static Result<std::unique_ptr<SlirpSockets>> create(EventLoop& loop, const SlirpLibrary& library);
  SlirpSockets(const SlirpSockets&) = delete;
  SlirpSockets& operator=(const SlirpSockets&) = delete;

  // Once, before others but add() and remove().
  void set_stack(Slirp& stack) { stack_ = &stack; }

  // libslirp has made a socket, or is about to close one.
  void add(int fd);
  void remove(int fd);
  // How many there are.
  size_t count() const { return count_; }

  // The stack has been called: what it waits for may differ.
  void touch() { is_stale_ = true; }
  // At the end of each turn of the loop.
  void settle();
  // While held, no socket is looked at; the stack's timers go on.
  void hold(bool is_held);

 private:
  struct Socket {
    uint32_t watched = 0;  // epoll's events; 0: not in epoll
    uint32_t wanted = 0;   // as of the last settle()
    uint32_t ready = 0;
    uint32_t round = 0;  // of the last settle() in which it was named
    bool is_counted = false;
    bool is_listed = false;  // in watched_
  };

  SlirpSockets(const SlirpLibrary& library, UniqueFd epoll) : library_(library), epoll_(std::move(epoll)) {}
  static int add_wanted(int fd, int events, void* self);
  static int ready_events(int index, void* self);
  Socket& socket(int fd);
  void forget(int fd);
  void watch(int fd, Socket& socket, uint32_t events);
  void take_events();
  void run_stack();
  void arm(std::chrono::milliseconds delay);

  const SlirpLibrary& library_;
  UniqueFd epoll_;
  EventLoop::Watch watch_;
  EventLoop::Timer timer_;
  Slirp* stack_ = nullptr;

  std::vector<Socket> sockets_;  // by descriptor
  std::vector<int> watched_;     // those in epoll, perhaps with some that are not any more
  std::vector<int> ready_;
  size_t count_ = 0;
  uint32_t round_ = 0;
  bool is_stale_ = true;
  bool is_held_ = false;
  std::chrono::steady_clock::time_point due_ = std::chrono::steady_clock::time_point::max();
  log::RateLimit limit_;
};

}  // namespace vmm::net
