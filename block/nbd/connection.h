// Connection: a session with its socket.
//
// Few system calls: what has come is read at once, and all replies that are ready go out together.
// Threads: the loop's.
#pragma once

#include <cstdint>
#include <memory>

#include "block/nbd/export.h"
#include "block/nbd/session.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/unique_fd.h"

namespace vmm::block::nbd {

class Connection {
 public:
  // A stream socket, non-blocking. Loop and export outlive the connection. Who has not chosen an export
  // within the limit is let go.
  static Result<std::unique_ptr<Connection>> create(EventLoop& loop, UniqueFd socket, const Export& exported,
                                                    EventLoop::Duration handshake_limit);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  // REQUIRES: is_over().
  ~Connection();

  // What can be done now, in bounded time; for each turn of the loop. True: there is more to do at once.
  bool turn();
  // No more requests are taken, and nobody is waited for who does not read the replies.
  void stop();
  // The socket is to be closed.
  bool is_over() const { return session_.is_over() || (is_broken_ && session_.in_flight() == 0); }
  bool has_chosen() const { return session_.has_chosen(); }
  // For the log: why the client was let go; nullptr: it went by itself.
  const char* fault() const { return is_too_slow_ ? "has not chosen an export in time" : session_.fault(); }

 private:
  Connection(EventLoop& loop, UniqueFd socket, const Export& exported)
      : loop_(loop), socket_(std::move(socket)), session_(exported) {}
  Status watch(EventLoop::Duration handshake_limit);

  void send();
  void receive();
  void wait_until_writable();
  void on_writable(uint32_t events);
  void on_handshake_limit();
  void break_off();

  EventLoop& loop_;
  UniqueFd socket_;
  UniqueFd output_socket_;  // the same, for a watch of its own
  Session session_;
  bool is_readable_ = true;  // as far as is known
  // The last read took all that was there: the next one waits for news.
  bool is_drained_ = false;
  bool is_blocked_ = false;  // the client has to read first
  bool is_stopped_ = false;
  bool is_broken_ = false;
  bool is_too_slow_ = false;
  EventLoop::Watch input_watch_;
  EventLoop::Watch output_watch_;  // made when first needed
  EventLoop::Timer handshake_timer_;
};

}  // namespace vmm::block::nbd
