// StreamEnd: one direction of a console's stream, read or written without ever blocking the loop.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <optional>
#include <span>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"
#include "vmm/console/terminal_guard.h"

namespace vmm {

enum class Direction : unsigned char { kInput, kOutput };

class StreamEnd {
 public:
  // A descriptor of ours, with O_NONBLOCK set, or a regular file.
  explicit StreamEnd(UniqueFd fd) : fd_(std::move(fd)) {}

  // The same file as a descriptor that we share with others, who must not notice: a terminal or pipe is
  // opened anew, a socket is told with each call not to wait; where neither works the guard restores
  // O_NONBLOCK. Nothing where the descriptor is not open.
  static Result<std::optional<StreamEnd>> of_shared(int fd, Direction direction, TerminalGuard& guard);

  int fd() const { return fd_.get(); }

  // As read(2) and writev(2): -1 and errno, which is EAGAIN where it would block.
  ssize_t read(std::span<std::byte> bytes) const;
  ssize_t write(const std::array<std::span<const std::byte>, 2>& pieces) const;

 private:
  StreamEnd(UniqueFd fd, bool is_socket) : fd_(std::move(fd)), is_socket_(is_socket) {}

  UniqueFd fd_;
  bool is_socket_ = false;
};

}  // namespace vmm
