#include "vmm/net/slirp_sockets.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

namespace vmm::net {
namespace {

constexpr int kEventsPerTurn = 64;

// The bits of both are different ones.
uint32_t to_epoll(int events) {
  uint32_t result = 0;
  result |= (events & SLIRP_POLL_IN) != 0 ? uint32_t{EPOLLIN} : 0;
  result |= (events & SLIRP_POLL_OUT) != 0 ? uint32_t{EPOLLOUT} : 0;
  result |= (events & SLIRP_POLL_PRI) != 0 ? uint32_t{EPOLLPRI} : 0;
  return result;
}

// epoll tells errors and ends without being asked. Where the stack waits for room to write only, they are
// told as room: a read, which they would begin otherwise, needs room for what is read, and there may be none.
int to_slirp(uint32_t ready, uint32_t wanted) {
  int result = 0;
  result |= (ready & wanted & EPOLLIN) != 0 ? SLIRP_POLL_IN : 0;
  result |= (ready & wanted & EPOLLOUT) != 0 ? SLIRP_POLL_OUT : 0;
  result |= (ready & wanted & EPOLLPRI) != 0 ? SLIRP_POLL_PRI : 0;
  if ((ready & (EPOLLERR | EPOLLHUP)) != 0) {
    result |= (wanted & EPOLLIN) == 0   ? SLIRP_POLL_OUT
              : (ready & EPOLLERR) != 0 ? SLIRP_POLL_ERR
                                        : SLIRP_POLL_HUP;
  }
  return result;
}

}  // namespace

Result<std::unique_ptr<SlirpSockets>> SlirpSockets::create(EventLoop& loop, const SlirpLibrary& library) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) {
    return fail("cannot create an epoll descriptor: {}", errno_text(errno));
  }
  std::unique_ptr<SlirpSockets> sockets(new SlirpSockets(library, std::move(epoll)));
  SlirpSockets* const raw = sockets.get();
  VMM_ASSIGN_OR_RETURN(sockets->watch_,
                       loop.watch(raw->epoll_.get(), EPOLLIN, [raw](uint32_t) { raw->take_events(); }));
  VMM_ASSIGN_OR_RETURN(sockets->timer_, loop.make_timer([raw] {
    raw->due_ = std::chrono::steady_clock::time_point::max();
    raw->run_stack();
  }));
  return sockets;
}

SlirpSockets::Socket& SlirpSockets::socket(int fd) {
  const auto index = static_cast<size_t>(fd);
  if (index >= sockets_.size()) {
    sockets_.resize(index + 1);
  }
  return sockets_[index];
}

void SlirpSockets::add(int fd) {
  if (fd >= 0) {
    forget(fd);
    socket(fd).is_counted = true;
    ++count_;
    touch();
  }
}

// Sockets that listen are not announced, but taken back.
void SlirpSockets::remove(int fd) {
  if (fd >= 0) {
    const int saved_errno = errno;  // of what libslirp could not do with it
    watch(fd, socket(fd), 0);
    forget(fd);
    errno = saved_errno;
  }
}

void SlirpSockets::forget(int fd) {
  Socket& old = socket(fd);
  count_ -= old.is_counted ? 1 : 0;
  old = {.is_listed = old.is_listed};
}

void SlirpSockets::hold(bool is_held) {
  if (is_held != is_held_) {
    is_held_ = is_held;
    watch_.set_events(is_held ? 0U : uint32_t{EPOLLIN});
  }
}

void SlirpSockets::watch(int fd, Socket& socket, uint32_t events) {
  if (events == socket.watched) {
    return;
  }
  const int operation = events == 0 ? EPOLL_CTL_DEL : socket.watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  const bool is_done = ::epoll_ctl(epoll_.get(), operation, fd, &event) == 0;
  if (!is_done && operation != EPOLL_CTL_DEL) {
    if (limit_.allows()) {
      log::warning("user network: cannot watch a socket: {}", errno_text(errno));
    }
    return;  // asked for again at the next settle()
  }
  if (!socket.is_listed) {
    socket.is_listed = true;
    watched_.push_back(fd);
  }
  socket.watched = events;
}

int SlirpSockets::add_wanted(int fd, int events, void* self) {
  auto& sockets = *static_cast<SlirpSockets*>(self);
  Socket& socket = sockets.socket(fd);
  socket.wanted = to_epoll(events);
  socket.round = sockets.round_;
  sockets.watch(fd, socket, socket.wanted);
  return fd;
}

int SlirpSockets::ready_events(int index, void* self) {
  const Socket& socket = static_cast<SlirpSockets*>(self)->socket(index);
  return to_slirp(socket.ready, socket.wanted);
}

void SlirpSockets::settle() {
  if (!is_stale_) {
    return;
  }
  is_stale_ = false;
  ++round_;
  uint32_t timeout_ms = std::numeric_limits<uint32_t>::max();
  library_.pollfds_fill(stack_, &timeout_ms, add_wanted, this);
  std::erase_if(watched_, [this](int fd) {
    Socket& at = socket(fd);
    if (at.watched != 0 && at.round != round_) {
      watch(fd, at, 0);
    }
    at.is_listed = at.watched != 0;
    return !at.is_listed;
  });
  arm(std::chrono::milliseconds(timeout_ms));
}

// A timer that is due earlier does no harm: the stack looks at its clock.
void SlirpSockets::arm(std::chrono::milliseconds delay) {
  const auto due = std::chrono::steady_clock::now() + delay;
  if (due < due_) {
    due_ = due;
    timer_.arm(delay);
  }
}

void SlirpSockets::take_events() {
  std::array<epoll_event, kEventsPerTurn> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsPerTurn, 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    socket(event.data.fd).ready = event.events;
    ready_.push_back(event.data.fd);
  }
  run_stack();
}

void SlirpSockets::run_stack() {
  library_.pollfds_poll(stack_, 0, ready_events, this);
  for (const int fd : ready_) {
    socket(fd).ready = 0;
  }
  ready_.clear();
  touch();
}

}  // namespace vmm::net
