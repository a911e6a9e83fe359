#include "block/nbd/connection.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <span>
#include <utility>

namespace vmm::block::nbd {
namespace {

// As much as an unprivileged process may have: a reply of 256 KiB goes out in one piece. A wish only.
constexpr int kSendBufferBytes = 1 << 20;

size_t sum_of(std::span<const iovec> pieces) {
  size_t sum = 0;
  for (const iovec& piece : pieces) {
    sum += piece.iov_len;
  }
  return sum;
}

msghdr message_of(std::span<const iovec> pieces) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  return message;
}

bool is_passing(int error_number) { return error_number == EAGAIN || error_number == EINTR; }

}  // namespace

Result<std::unique_ptr<Connection>> Connection::create(EventLoop& loop, UniqueFd socket,
                                                       const Export& exported,
                                                       EventLoop::Duration handshake_limit) {
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof kSendBufferBytes);
  std::unique_ptr<Connection> connection(new Connection(loop, std::move(socket), exported));
  VMM_TRY(connection->watch(handshake_limit));
  return connection;
}

// At once, though the engine may still hold the socket for its watch.
Connection::~Connection() { ::shutdown(socket_.get(), SHUT_RDWR); }

// Edge-triggered: the disk's engine can watch it without the help of epoll.
Status Connection::watch(EventLoop::Duration handshake_limit) {
  VMM_ASSIGN_OR_RETURN(input_watch_, loop_.watch(socket_.get(), EPOLLIN | EPOLLET, [this](uint32_t) {
    is_readable_ = true;
    is_drained_ = false;
  }));
  VMM_ASSIGN_OR_RETURN(handshake_timer_, loop_.make_timer([this] { on_handshake_limit(); }));
  handshake_timer_.arm(handshake_limit);
  return {};
}

void Connection::on_handshake_limit() {
  if (session_.is_in_handshake()) {
    is_too_slow_ = true;
    break_off();
  }
}

void Connection::break_off() {
  is_broken_ = true;
  session_.stop();
  input_watch_.reset();
  output_watch_.reset();
}

void Connection::stop() {
  is_stopped_ = true;
  session_.stop();
  if (is_blocked_) {
    break_off();
  }
}

bool Connection::turn() {
  if (is_broken_) {
    return false;
  }
  send();
  // Of news the watch tells, and of the end only perhaps: it is looked for where nothing else will wake us.
  is_drained_ = is_drained_ && session_.in_flight() > 0;
  session_.go_on();
  if (is_readable_ && !is_drained_) {
    receive();
  }
  // What the disk can tell at once, as a flush of nothing, its engine tells at the next turn.
  return session_.take_submitted() || (!is_broken_ && session_.has_output() && !is_blocked_) ||
         (!is_broken_ && is_readable_ && !is_drained_ && !session_.input_space().empty());
}

void Connection::send() {
  if (!session_.has_output() || is_blocked_) {
    return;
  }
  const std::span<const iovec> pieces = session_.output();
  const size_t wanted = sum_of(pieces);
  const msghdr message = message_of(pieces);
  const ssize_t count = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (count < 0 && !is_passing(errno)) {
    break_off();
    return;
  }
  if (count > 0) {
    session_.sent(static_cast<size_t>(count));
  }
  if (count < 0 || static_cast<size_t>(count) < wanted) {
    wait_until_writable();
  }
}

void Connection::wait_until_writable() {
  is_blocked_ = true;
  if (is_stopped_) {
    break_off();
    return;
  }
  if (output_watch_) {
    output_watch_.set_events(EPOLLOUT);
    return;
  }
  output_socket_ = UniqueFd(::fcntl(socket_.get(), F_DUPFD_CLOEXEC, 0));
  auto watch = loop_.watch(output_socket_.get(), EPOLLOUT, [this](uint32_t events) { on_writable(events); });
  if (!watch) {
    break_off();
    return;
  }
  output_watch_ = *std::move(watch);
}

void Connection::on_writable(uint32_t events) {
  is_blocked_ = false;
  is_readable_ = true;
  is_drained_ = false;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    // It would be told again and again; reading and writing find out.
    output_watch_.reset();
  } else {
    output_watch_.set_events(0);
  }
}

void Connection::receive() {
  const std::span<const iovec> pieces = session_.input_space();
  if (pieces.empty()) {
    return;
  }
  msghdr message = message_of(pieces);
  const ssize_t count = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT);
  if (count < 0) {
    is_readable_ = errno == EINTR;
    if (!is_passing(errno)) {
      break_off();
    }
    return;
  }
  if (count == 0) {
    is_readable_ = false;
    input_watch_.reset();
    session_.end_of_input();
    return;
  }
  is_drained_ = static_cast<size_t>(count) < sum_of(pieces);
  session_.received(static_cast<size_t>(count));
}

}  // namespace vmm::block::nbd
