#include "block/nbd/server.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::block::nbd {
namespace {

constexpr mode_t kOwnerOnly = 0600;
constexpr int kBacklog = 16;
constexpr std::chrono::seconds kPause(1);

}  // namespace

Result<UnixListener> Server::listen(const std::string& path) {
  return UnixListener::listen("the socket", path, kOwnerOnly, kBacklog);
}

Server::Server(EventLoop& loop, Export exported, std::optional<UnixListener> listener, const Options& options)
    : loop_(loop), export_(std::move(exported)), options_(options), listener_(std::move(listener)) {
  loop_.add_poller(*this);
}

Server::~Server() {
  VMM_CHECK(connections_.empty(), "a server was ended with clients");
  loop_.remove_poller(*this);
}

Result<std::unique_ptr<Server>> Server::create(EventLoop& loop, Export exported,
                                               std::optional<UnixListener> listener, const Options& options) {
  std::unique_ptr<Server> server(new Server(loop, std::move(exported), std::move(listener), options));
  VMM_ASSIGN_OR_RETURN(server->again_, loop.make_timer([self = server.get()] { self->listen_again(); }));
  VMM_TRY(server->watch_listener());
  return server;
}

Status Server::watch_listener() {
  if (listener_ && !listener_watch_ && !is_stopping_ && connections_.size() < options_.clients) {
    VMM_ASSIGN_OR_RETURN(listener_watch_,
                         loop_.watch(listener_->fd(), EPOLLIN, [this](uint32_t) { accept(); }));
  }
  return {};
}

void Server::listen_again() {
  if (const Status status = watch_listener(); !status) {
    again_.arm(kPause);
  }
}

void Server::accept() {
  UniqueFd socket = listener_->accept();
  if (!socket) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      log::warning("the socket takes no client now: {}", errno_text(errno));
      listener_watch_.reset();
      again_.arm(kPause);
    }
    return;
  }
  if (const Status added = add(std::move(socket)); !added && log_limit_.allows()) {
    log::warning("a client cannot be served: {}", added.error().message());
  }
  if (connections_.size() >= options_.clients) {
    listener_watch_.reset();
  }
}

Status Server::add(UniqueFd socket) {
  VMM_ASSIGN_OR_RETURN(auto connection,
                       Connection::create(loop_, std::move(socket), export_, options_.handshake_limit));
  connections_.push_back(std::move(connection));
  return {};
}

void Server::stop() {
  is_stopping_ = true;
  listener_watch_.reset();
  listener_.reset();
  for (const auto& connection : connections_) {
    connection->stop();
  }
}

bool Server::poll() {
  bool has_more = false;
  for (const auto& connection : connections_) {
    has_more |= connection->turn();
  }
  // Whoever runs the loop looks whether the server is over now.
  if (std::ranges::any_of(connections_, [](const auto& each) { return each->is_over(); })) {
    remove_ended();
    has_more = true;
  }
  return has_more;
}

void Server::remove_ended() {
  bool has_served = false;
  std::erase_if(connections_, [&](const auto& connection) {
    if (!connection->is_over()) {
      return false;
    }
    has_served |= connection->has_chosen();
    if (connection->fault() != nullptr && log_limit_.allows()) {
      log::warning("a client was disconnected: it {}", connection->fault());
    }
    return true;
  });
  if (has_served && connections_.empty() && !options_.is_persistent && !is_stopping_) {
    stop();
  }
  listen_again();
}

}  // namespace vmm::block::nbd
