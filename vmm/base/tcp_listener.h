// A TCP port of the loopback interface (tcp(7)): programs of this machine connect, of whichever user.
//
// Threads: any; an object by one thread at a time.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm {

class TcpListener {
 public:
  // Listens at 127.0.0.1, non-blocking; 0: a port that is free. role: for errors, as "the metrics' port".
  static Result<TcpListener> listen(std::string_view role, uint16_t port, int backlog);

  int fd() const { return fd_.get(); }
  uint16_t port() const { return port_; }
  // The next client, non-blocking; no descriptor where there is none.
  UniqueFd accept() const;

 private:
  TcpListener(UniqueFd fd, uint16_t port) : fd_(std::move(fd)), port_(port) {}

  UniqueFd fd_;
  uint16_t port_;
};

}  // namespace vmm
