#include <fcntl.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "vmm/base/unix_socket.h"
#include "vmm/console/console.h"
#include "vmm/console/stream_console.h"

namespace vmm {
namespace {

class SocketConsole final : public StreamConsole {
 public:
  SocketConsole(EventLoop& loop, const std::string& path)
      : StreamConsole(loop, "the console on " + path), path_(path) {}

  Status listen() {
    VMM_TRY(start());
    auto listener = UnixListener::listen("the console's socket", path_);
    if (!listener) {
      return std::unexpected(listener.error());
    }
    listener_.emplace(*std::move(listener));
    return watch_listener();
  }

  Status connect_once() {
    VMM_TRY(start());
    VMM_ASSIGN_OR_RETURN(UniqueFd fd, connect_unix("the socket of a console", path_));
    return attach_peer(std::move(fd));
  }

  std::string host_end() const override {
    return (is_attached() ? "unix:" : "disconnected:unix:") + path_ + (listener_ ? ",server=on" : "");
  }

 private:
  Status watch_listener() {
    VMM_ASSIGN_OR_RETURN(listener_watch_,
                         loop().watch(listener_->fd(), EPOLLIN, [this](uint32_t) { accept(); }));
    return {};
  }

  void accept() {
    UniqueFd peer = listener_->accept();
    if (peer && attach_peer(std::move(peer))) {
      listener_watch_.reset();  // the next one waits its turn
    }
  }

  Status attach_peer(UniqueFd peer) {
    UniqueFd second(::fcntl(peer.get(), F_DUPFD_CLOEXEC, 3));
    if (!second) {
      return fail("cannot duplicate a socket: {}", errno_text(errno));
    }
    attach(StreamEnd(std::move(peer)), StreamEnd(std::move(second)));
    return {};
  }

  void handle_end_of_input() override {
    detach();
    if (!listener_) {
      log::warning("{}: the other side has closed it; the guest's output is dropped from here on", name());
    } else if (const Status status = watch_listener(); !status) {
      log::warning("{}: {}; no more clients are taken", name(), status.error().message());
    }
  }
  void handle_end_of_output() override { handle_end_of_input(); }

  const std::string path_;
  std::optional<UnixListener> listener_;
  EventLoop::Watch listener_watch_;
};

}  // namespace

Result<std::unique_ptr<Console>> open_socket_console(EventLoop& loop, const std::string& path,
                                                     SocketMode mode) {
  auto console = std::make_unique<SocketConsole>(loop, path);
  VMM_TRY(mode == SocketMode::kBind ? console->listen() : console->connect_once());
  return console;
}

}  // namespace vmm
