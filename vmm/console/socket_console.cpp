#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "vmm/console/console.h"
#include "vmm/console/stream_console.h"

namespace vmm {
namespace {

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail_configuration("the path of a console's socket must have 1 to {} bytes, '{}' has {}",
                              sizeof address.sun_path - 1, path, path.size());
  }
  std::ranges::copy(path, address.sun_path);
  return address;
}

int connect_to(int fd, const sockaddr_un& address) {
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

Result<UniqueFd> make_socket() {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) {
    return fail("cannot make a socket: {}", errno_text(errno));
  }
  return fd;
}

// Removes a socket that a run before this one left behind; anything else at that path stays.
Status remove_left_over(const std::string& path, const sockaddr_un& address) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) {
    return {};
  }
  if (!S_ISSOCK(info.st_mode)) {
    return fail("cannot make the console's socket {}: there is something else of that name", path);
  }
  VMM_ASSIGN_OR_RETURN(const UniqueFd probe, make_socket());
  if (connect_to(probe.get(), address) != ECONNREFUSED) {
    return fail("cannot make the console's socket {}: another process listens there", path);
  }
  ::unlink(path.c_str());
  return {};
}

class SocketConsole final : public StreamConsole {
 public:
  SocketConsole(EventLoop& loop, const std::string& path)
      : StreamConsole(loop, "the console on " + path), path_(path) {}

  ~SocketConsole() override {
    struct stat info{};
    // Only our own: somebody may have put another there meanwhile.
    if (listener_ && ::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_) {
      ::unlink(path_.c_str());
    }
  }
  SocketConsole(const SocketConsole&) = delete;
  SocketConsole& operator=(const SocketConsole&) = delete;

  Status listen() {
    VMM_TRY(start());
    VMM_ASSIGN_OR_RETURN(const sockaddr_un address, address_of(path_));
    VMM_TRY(remove_left_over(path_, address));
    VMM_ASSIGN_OR_RETURN(UniqueFd fd, make_socket());
    struct stat info{};
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(fd.get(), 1) != 0 || ::lstat(path_.c_str(), &info) != 0) {
      return fail("cannot make the console's socket {}: {}", path_, errno_text(errno));
    }
    device_ = info.st_dev;
    inode_ = info.st_ino;
    listener_ = std::move(fd);
    return watch_listener();
  }

  Status connect_once() {
    VMM_TRY(start());
    VMM_ASSIGN_OR_RETURN(const sockaddr_un address, address_of(path_));
    VMM_ASSIGN_OR_RETURN(UniqueFd fd, make_socket());
    if (const int error = connect_to(fd.get(), address); error != 0) {
      return fail("cannot connect a console to the socket {}: {}", path_, errno_text(error));
    }
    return attach_peer(std::move(fd));
  }

 private:
  Status watch_listener() {
    VMM_ASSIGN_OR_RETURN(listener_watch_,
                         loop().watch(listener_.get(), EPOLLIN, [this](uint32_t) { accept(); }));
    return {};
  }

  void accept() {
    UniqueFd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
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
  UniqueFd listener_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
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
