// Who is at the other end of a unix socket.
//
// Threads: any.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

namespace vmm::control {

// The user that runs vmm, or root (SO_PEERCRED).
inline bool is_peer_allowed(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
         (peer.uid == ::geteuid() || peer.uid == 0);
}

}  // namespace vmm::control
