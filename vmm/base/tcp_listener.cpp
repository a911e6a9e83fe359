#include "vmm/base/tcp_listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

namespace vmm {

Result<TcpListener> TcpListener::listen(std::string_view role, uint16_t port, int backlog) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  // A run before this one may have left connections there that nobody has any more.
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(fd.get(), any, length) != 0 || ::listen(fd.get(), backlog) != 0 ||
      ::getsockname(fd.get(), any, &length) != 0) {
    return fail("cannot listen at {} {}: {}", role, port, errno_text(errno));
  }
  return TcpListener(std::move(fd), ntohs(address.sin_port));
}

UniqueFd TcpListener::accept() const {
  return UniqueFd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

}  // namespace vmm
