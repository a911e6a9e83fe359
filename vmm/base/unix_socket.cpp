#include "vmm/base/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <utility>

namespace vmm {
namespace {

Result<sockaddr_un> address_of(std::string_view role, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail_configuration("the path of {} must have 1 to {} bytes, '{}' has {}", role,
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

int peer_of(const UniqueFd& fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? peer.pid : 0;
}

Status remove_left_over(std::string_view role, const std::string& path, const sockaddr_un& address) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) {
    return {};
  }
  if (!S_ISSOCK(info.st_mode)) {
    return fail("cannot make {} {}: there is something else of that name", role, path);
  }
  VMM_ASSIGN_OR_RETURN(const UniqueFd probe, make_socket());
  if (connect_to(probe.get(), address) != ECONNREFUSED) {
    const int process = peer_of(probe);
    return fail("cannot make {} {}: {} listens there", role, path,
                process == 0 ? "another process" : fmt::format("process {}", process));
  }
  ::unlink(path.c_str());
  return {};
}

// Nobody else's file is replaced, but on a file system that cannot promise that.
bool rename_to_new(const std::string& from, const std::string& to) {
  return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0 ||
         (errno == EINVAL && std::rename(from.c_str(), to.c_str()) == 0);
}

}  // namespace

Result<UnixListener> UnixListener::listen(std::string_view role, const std::string& path, mode_t mode,
                                          int backlog) {
  VMM_ASSIGN_OR_RETURN(const sockaddr_un address, address_of(role, path));
  VMM_TRY(remove_left_over(role, path, address));
  VMM_ASSIGN_OR_RETURN(UniqueFd fd, make_socket());
  // Who sees the file may connect at once: it gets its name when somebody listens.
  const std::string early_path = fmt::format("{}.{}", path, ::getpid());
  const auto early = address_of(role, early_path);
  const bool is_renamed = early.has_value();  // else the name would be too long
  const sockaddr_un& bound = is_renamed ? *early : address;
  struct stat info{};
  // Linux gives the file the mode that the socket has when it is bound.
  if (::fchmod(fd.get(), mode) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&bound), sizeof bound) != 0) {
    return fail("cannot make {} {}: {}", role, path, errno_text(errno));
  }
  if (::listen(fd.get(), backlog) != 0 || (is_renamed && !rename_to_new(early_path, path)) ||
      ::lstat(path.c_str(), &info) != 0) {
    const int error = errno;
    ::unlink(is_renamed ? early_path.c_str() : path.c_str());
    return fail("cannot make {} {}: {}", role, path, errno_text(error));
  }
  return UnixListener(std::move(fd), path, info);
}

UnixListener::~UnixListener() {
  struct stat info{};
  if (fd_ && ::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

UniqueFd UnixListener::accept() const {
  return UniqueFd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

Result<UniqueFd> connect_unix(std::string_view role, const std::string& path) {
  VMM_ASSIGN_OR_RETURN(const sockaddr_un address, address_of(role, path));
  VMM_ASSIGN_OR_RETURN(UniqueFd fd, make_socket());
  if (const int error = connect_to(fd.get(), address); error != 0) {
    struct stat info{};
    const bool is_other = ::stat(path.c_str(), &info) == 0 && !S_ISSOCK(info.st_mode);
    return fail("cannot connect to {} {}: {}", role, path, is_other ? "it is no socket" : errno_text(error));
  }
  return fd;
}

Result<UniqueFd> connect_unix_datagram(std::string_view role, const std::string& path) {
  VMM_ASSIGN_OR_RETURN(sockaddr_un address, address_of(role, path));
  socklen_t length = sizeof address;
  if (path.front() == '@') {
    address.sun_path[0] = '\0';
    length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  }
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    return fail("cannot connect to {} {}: {}", role, path, errno_text(errno));
  }
  return fd;
}

int listening_process(const std::string& path) {
  const auto connected = connect_unix("the socket", path);
  return connected ? peer_of(*connected) : 0;
}

bool is_left_over_socket(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) {
    return false;
  }
  const auto address = address_of("the socket", path);
  const auto probe = make_socket();
  return address && probe && connect_to(probe->get(), *address) == ECONNREFUSED;
}

}  // namespace vmm
