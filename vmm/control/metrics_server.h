// MetricsServer: GET /metrics over plain HTTP, at a unix socket or at a port of the loopback interface, for
// Prometheus and its like (metrics_text.h).
//
// At the socket only the user that runs vmm, and root, are served; the port is for whoever is on this
// machine. Each connection has one answer and kClientTime; what is kept of it is bounded. What is shown, a
// client cannot change. Threads: the main loop's.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/tcp_listener.h"
#include "vmm/base/unique_fd.h"
#include "vmm/base/unix_socket.h"
#include "vmm/control/guest.h"
#include "vmm/control/http_request.h"

namespace vmm::control {

// Where metrics are served: at one of both.
class MetricsListener {
 public:
  // where: a port's number, or else the path of a socket. An error, where it is none of both, is of the
  // command line.
  static Result<MetricsListener> listen(const std::string& where);

  int fd() const { return unix_ ? unix_->fd() : tcp_->fd(); }
  // The next client that may connect; no descriptor where there is none, and errno is 0 where it may not.
  UniqueFd accept() const;

 private:
  std::optional<UnixListener> unix_;
  std::optional<TcpListener> tcp_;
};

// Absent: it is no number, and so a path. An error: no port has this number.
Result<std::optional<uint16_t>> metrics_port(const std::string& where);

class MetricsServer {
 public:
  static constexpr size_t kMaxClients = 8;
  static constexpr std::chrono::seconds kClientTime{5};

  // REQUIRES: loop and guest outlive the server.
  static Result<std::unique_ptr<MetricsServer>> create(EventLoop& loop, const Guest& guest,
                                                       MetricsListener listener,
                                                       EventLoop::Duration client_time = kClientTime);
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

 private:
  struct Client {
    UniqueFd fd;
    std::chrono::steady_clock::time_point end;
    HttpRequestReader reader;
    std::string output;
    size_t written = 0;
    bool is_answered = false;  // and waits for the other side to close
    bool has_closed = false;   // the other side, before it had all
    EventLoop::Watch watch;
  };

  MetricsServer(EventLoop& loop, const Guest& guest, MetricsListener listener,
                EventLoop::Duration client_time)
      : loop_(loop), guest_(guest), listener_(std::move(listener)), client_time_(client_time) {}
  Status watch_listener();
  void on_time();
  void accept();
  void serve(Client& client, uint32_t events);
  bool read(Client& client);
  static bool write(Client& client);
  std::string answer(const HttpRequestReader& request) const;
  void remove(const Client& client);

  EventLoop& loop_;
  const Guest& guest_;
  const MetricsListener listener_;
  const EventLoop::Duration client_time_;
  std::list<Client> clients_;
  EventLoop::Watch watch_;  // not while the host has no descriptors left
  EventLoop::Timer timer_;
};

}  // namespace vmm::control
