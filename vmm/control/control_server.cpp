#include "vmm/control/control_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string_view>
#include <utility>

#include "vmm/base/log.h"
#include "vmm/control/peer.h"
#include "vmm/control/qmp_events.h"
#include "vmm/control/qmp_job_events.h"

namespace vmm::control {
namespace {

constexpr mode_t kOwnerOnly = 0600;
constexpr int kBacklog = 128;
constexpr std::chrono::seconds kPause(1);

}  // namespace

ControlServer::Client::Client(Guest& guest, UniqueFd peer)
    : fd(std::move(peer)),
      session(guest),
      output(QmpSession::greeting()),
      splitter([this](std::string_view message) { output += session.answer(message); },
               [this](const char* reason) { output += QmpSession::complaint(reason); }) {}

Result<UnixListener> ControlServer::listen(const std::string& path) {
  return UnixListener::listen("the control socket", path, kOwnerOnly, kBacklog);
}

Result<std::unique_ptr<ControlServer>> ControlServer::create(EventLoop& loop, Guest& guest,
                                                             UnixListener listener) {
  std::unique_ptr<ControlServer> server(new ControlServer(loop, guest, std::move(listener)));
  VMM_ASSIGN_OR_RETURN(server->again_, loop.make_timer([self = server.get()] { self->listen_again(); }));
  VMM_TRY(server->watch_listener());
  guest.set_observer([self = server.get()](const MachineEvent& event) {
    self->tell(event_line(event, std::chrono::system_clock::now()));
  });
  guest.disk_jobs()->set_observer([self = server.get()](const DiskJobEvent& event) {
    self->tell(job_event_line(event, std::chrono::system_clock::now()));
  });
  return server;
}

ControlServer::~ControlServer() {
  guest_.set_observer({});
  if (guest_.disk_jobs() != nullptr) {
    guest_.disk_jobs()->set_observer({});
  }
}

// At once, where the socket takes it: after the last event there may be no turn of the loop. Nobody is
// removed here, as one of them may be served just now.
void ControlServer::tell(const std::string& line) {
  for (Client& client : clients_) {
    if (!client.session.has_negotiated() || client.session.console() ||
        client.output.size() > kMaxUnreadBytes) {
      continue;
    }
    client.output += line;
    static_cast<void>(write(client));
    client.watch.set_events(client.output.empty() && client.input.empty() ? EPOLLIN : EPOLLOUT);
  }
}

Status ControlServer::watch_listener() {
  VMM_ASSIGN_OR_RETURN(watch_, loop_.watch(listener_.fd(), EPOLLIN, [this](uint32_t) { accept(); }));
  return {};
}

void ControlServer::listen_again() {
  if (const Status status = watch_listener(); !status) {
    log::warning("the control socket takes no more clients: {}", status.error().message());
  }
}

void ControlServer::accept() {
  UniqueFd peer = listener_.accept();
  if (!peer) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      log::warning("the control socket takes no client now: {}", errno_text(errno));
      watch_.reset();
      again_.arm(kPause);
    }
    return;
  }
  if (!is_peer_allowed(peer.get()) || !has_room()) {
    return;
  }
  Client& client = clients_.emplace_back(guest_, std::move(peer));
  auto watch =
      loop_.watch(client.fd.get(), EPOLLOUT, [this, &client](uint32_t events) { serve(client, events); });
  if (!watch) {
    return remove(client);
  }
  client.watch = *std::move(watch);
}

// Where all places are taken, the oldest client goes that has not even said what it is, or does not read: so
// those who hang keep nobody out.
bool ControlServer::has_room() {
  if (clients_.size() < kMaxClients) {
    return true;
  }
  const auto hanging = std::ranges::find_if(
      clients_, [](const Client& each) { return !each.session.has_negotiated() || !each.output.empty(); });
  if (hanging == clients_.end()) {
    return false;
  }
  clients_.erase(hanging);
  return true;
}

void ControlServer::serve(Client& client, uint32_t events) {
  const bool has_work = !client.output.empty() || !client.input.empty();
  const bool is_alive = (events & EPOLLERR) == 0 && write(client) && (has_work || read(client));
  if (!is_alive) {
    return remove(client);
  }
  answer(client);
  if (!write(client)) {
    return remove(client);
  }
  if (client.session.console() && client.output.empty()) {
    return hand_over(client);
  }
  // Who does not read its answers is not read either.
  client.watch.set_events(client.output.empty() && client.input.empty() ? EPOLLIN : EPOLLOUT);
}

void ControlServer::answer(Client& client) {
  for (int i = 0; i < kMessagesPerTurn && !client.input.empty() && client.output.size() <= kMaxUnreadBytes;
       ++i) {
    client.input.erase(0, client.splitter.take_one(client.input));
  }
}

// False: the client is gone.
bool ControlServer::read(Client& client) {
  std::array<char, 4096> bytes{};
  const ssize_t count = ::read(client.fd.get(), bytes.data(), bytes.size());
  if (count <= 0) {
    return count < 0 && (errno == EAGAIN || errno == EINTR);
  }
  client.input.assign(bytes.data(), static_cast<size_t>(count));
  return true;
}

bool ControlServer::write(Client& client) {
  if (client.output.empty()) {
    return true;
  }
  const ssize_t count = ::send(client.fd.get(), client.output.data(), client.output.size(), MSG_NOSIGNAL);
  if (count < 0) {
    return errno == EAGAIN || errno == EINTR;
  }
  client.output.erase(0, static_cast<size_t>(count));
  return true;
}

// To the console that it has asked for.
void ControlServer::hand_over(Client& client) {
  const std::string console = *client.session.console();
  client.watch.reset();
  UniqueFd socket = std::move(client.fd);
  remove(client);
  if (const Status status = guest_.attach_to_console(console, std::move(socket)); !status) {
    log::warning("nobody is attached to the console: {}", status.error().message());
  }
}

void ControlServer::remove(const Client& client) {
  clients_.remove_if([&client](const Client& each) { return &each == &client; });
}

}  // namespace vmm::control
