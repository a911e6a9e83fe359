#include "vmm/control/metrics_server.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

#include "vmm/base/log.h"
#include "vmm/control/metrics_text.h"
#include "vmm/control/peer.h"

namespace vmm::control {
namespace {

constexpr mode_t kMetricsMode = 0600;
constexpr int kMetricsBacklog = 16;
constexpr const char* kMetricsPath = "/metrics";

const char* reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    default:
      return "HTTP Version Not Supported";
  }
}

std::string response(int status, std::string_view type, std::string_view body, bool has_body = true) {
  return fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}Connection: close\r\n\r\n{}", status,
      reason_of(status), type, body.size(), status == 405 ? "Allow: GET, HEAD\r\n" : "",
      has_body ? body : "");
}

std::string refusal(int status) {
  return response(status, "text/plain; charset=utf-8", fmt::format("{}\n", reason_of(status)));
}

}  // namespace

Result<std::optional<uint16_t>> metrics_port(const std::string& where) {
  if (!std::ranges::all_of(where, [](char each) { return each >= '0' && each <= '9'; })) {
    return std::nullopt;
  }
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(where.data(), where.data() + where.size(), port);
  if (error != std::errc() || port == 0) {
    return fail_configuration("--metrics {}: ports are 1 to 65535; a socket of that name is ./{}", where,
                              where);
  }
  return port;
}

Result<MetricsListener> MetricsListener::listen(const std::string& where) {
  MetricsListener listener;
  VMM_ASSIGN_OR_RETURN(const std::optional<uint16_t> port, metrics_port(where));
  if (port) {
    VMM_ASSIGN_OR_RETURN(TcpListener tcp, TcpListener::listen("the metrics' port", *port, kMetricsBacklog));
    listener.tcp_.emplace(std::move(tcp));
  } else {
    VMM_ASSIGN_OR_RETURN(UnixListener local,
                         UnixListener::listen("the metrics' socket", where, kMetricsMode, kMetricsBacklog));
    listener.unix_.emplace(std::move(local));
  }
  return listener;
}

UniqueFd MetricsListener::accept() const {
  UniqueFd peer = unix_ ? unix_->accept() : tcp_->accept();
  if (peer && unix_ && !is_peer_allowed(peer.get())) {
    peer = UniqueFd();
    errno = 0;
  }
  return peer;
}

Result<std::unique_ptr<MetricsServer>> MetricsServer::create(EventLoop& loop, const Guest& guest,
                                                             MetricsListener listener,
                                                             EventLoop::Duration client_time) {
  std::unique_ptr<MetricsServer> server(new MetricsServer(loop, guest, std::move(listener), client_time));
  VMM_ASSIGN_OR_RETURN(server->timer_, loop.make_timer([self = server.get()] { self->on_time(); }));
  VMM_TRY(server->watch_listener());
  return server;
}

Status MetricsServer::watch_listener() {
  VMM_ASSIGN_OR_RETURN(watch_, loop_.watch(listener_.fd(), EPOLLIN, [this](uint32_t) { accept(); }));
  return {};
}

// Whose time is over is let go, and clients are taken again.
void MetricsServer::on_time() {
  const auto now = std::chrono::steady_clock::now();
  clients_.remove_if([now](const Client& each) { return each.end <= now; });
  if (!clients_.empty()) {
    timer_.arm(std::chrono::duration_cast<EventLoop::Duration>(clients_.front().end - now));
  }
  if (!watch_) {
    if (const Status status = watch_listener(); !status) {
      log::warning("metrics are served no more: {}", status.error().message());
    }
  }
}

void MetricsServer::accept() {
  UniqueFd peer = listener_.accept();
  if (!peer) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      watch_.reset();
      timer_.arm(client_time_);
    }
    return;
  }
  if (clients_.size() >= kMaxClients) {
    return;
  }
  Client& client = clients_.emplace_back(Client{.fd = std::move(peer)});
  client.end = std::chrono::steady_clock::now() + client_time_;
  auto watch =
      loop_.watch(client.fd.get(), EPOLLIN, [this, &client](uint32_t events) { serve(client, events); });
  if (!watch) {
    return remove(client);
  }
  client.watch = *std::move(watch);
  if (clients_.size() == 1) {
    timer_.arm(client_time_);
  }
}

void MetricsServer::serve(Client& client, uint32_t events) {
  const bool is_alive = (events & EPOLLERR) == 0 && (client.has_closed || read(client)) && write(client);
  const bool has_all = client.written == client.output.size();
  if (!is_alive || (has_all && client.has_closed)) {
    return remove(client);
  }
  const uint32_t reading = client.has_closed ? 0U : EPOLLIN;
  client.watch.set_events(reading | (has_all ? 0U : EPOLLOUT));
}

// What comes behind the request is thrown away: were it left unread, the other side would lose the answer
// with the connection. False: the client is gone.
bool MetricsServer::read(Client& client) {
  std::array<char, 4096> bytes{};
  const ssize_t count = ::read(client.fd.get(), bytes.data(), bytes.size());
  if (count < 0) {
    return errno == EAGAIN || errno == EINTR;
  }
  client.has_closed = count == 0;
  if (client.is_answered) {
    return true;
  }
  if (client.reader.take(std::string_view(bytes.data(), static_cast<size_t>(count))) !=
      HttpRequestReader::State::kReading) {
    client.output = answer(client.reader);
    client.is_answered = true;
  }
  return true;
}

bool MetricsServer::write(Client& client) {
  const std::string_view left = std::string_view(client.output).substr(client.written);
  if (left.empty()) {
    return true;
  }
  const ssize_t count = ::send(client.fd.get(), left.data(), left.size(), MSG_NOSIGNAL);
  if (count < 0) {
    return errno == EAGAIN || errno == EINTR;
  }
  client.written += static_cast<size_t>(count);
  if (client.written == client.output.size()) {
    ::shutdown(client.fd.get(), SHUT_WR);
  }
  return true;
}

std::string MetricsServer::answer(const HttpRequestReader& request) const {
  if (request.state() == HttpRequestReader::State::kWrong) {
    return refusal(request.status());
  }
  const bool is_head = request.method() == "HEAD";
  if (!is_head && request.method() != "GET") {
    return refusal(405);
  }
  if (request.path() != kMetricsPath) {
    return refusal(404);
  }
  return response(200, "text/plain; version=0.0.4; charset=utf-8", metrics_text(guest_), !is_head);
}

void MetricsServer::remove(const Client& client) {
  clients_.remove_if([&client](const Client& each) { return &each == &client; });
}

}  // namespace vmm::control
