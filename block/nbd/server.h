// Server: a disk for NBD clients that come to a unix socket.
//
// One loop owns the disk and all connections: requests of all clients are done side by side, and what one
// client wrote and was told of, every other one reads and flushes. Clients beyond the limit wait to be
// accepted. See session.h for what one client is bounded to.
//
// Threads: the loop's.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "block/nbd/connection.h"
#include "block/nbd/export.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/log.h"
#include "vmm/base/unique_fd.h"
#include "vmm/base/unix_socket.h"

namespace vmm::block::nbd {

inline constexpr uint32_t kMaxClients = 16;

class Server final : private EventLoop::Poller {
 public:
  struct Options {
    uint32_t clients = 1;  // at once; 1 to kMaxClients
    // Else it is over when the last client has gone, of those that chose the export.
    bool is_persistent = false;
    EventLoop::Duration handshake_limit = std::chrono::seconds(10);
  };

  // Where clients come to. Only the user that runs the server, and root, may.
  static Result<UnixListener> listen(const std::string& path);
  // Without a listener there are the clients that add() brings. Loop and disk outlive the server.
  static Result<std::unique_ptr<Server>> create(EventLoop& loop, Export exported,
                                                std::optional<UnixListener> listener, const Options& options);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  // REQUIRES: is_over().
  ~Server();

  // A connected stream socket.
  Status add(UniqueFd socket);
  // No more clients and requests are taken; those that the disk has are done, and answered if the client
  // reads.
  void stop();
  // It has been stopped, or has come to its end, and the disk has none of its requests.
  bool is_over() const { return is_stopping_ && connections_.empty(); }

 private:
  Server(EventLoop& loop, Export exported, std::optional<UnixListener> listener, const Options& options);
  bool poll() override;
  Status watch_listener();
  void listen_again();
  void accept();
  void remove_ended();

  // Constant after construction.
  EventLoop& loop_;
  const Export export_;
  const Options options_;

  std::optional<UnixListener> listener_;
  EventLoop::Watch listener_watch_;  // while there is room for another client
  EventLoop::Timer again_;           // after the host had no descriptors left
  std::vector<std::unique_ptr<Connection>> connections_;
  bool is_stopping_ = false;
  log::RateLimit log_limit_;
};

}  // namespace vmm::block::nbd
