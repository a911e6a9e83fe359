// TerminalGuard: gives back what vmm changed about descriptors that it shares with its parent (a shell): the
// terminal's settings and O_NONBLOCK, which belongs to the open file, not to the descriptor.
//
// They are given back by the destructor, by exit(), and by every signal that ends a process where nobody else
// handles it, and those of crashes and abort() always; the signals then take their course. Only SIGKILL and
// _exit() go past it.
//
// Threads: create and destroy on the main thread; one at a time.
#pragma once

#include <memory>

#include "vmm/base/error.h"

namespace vmm {

class TerminalGuard {
 public:
  // An error where there is one already.
  static Result<std::unique_ptr<TerminalGuard>> create();
  ~TerminalGuard();
  TerminalGuard(const TerminalGuard&) = delete;
  TerminalGuard& operator=(const TerminalGuard&) = delete;

  // Raw input: no echo, no line editing, no signals from keys, no flow control. Output processing stays, so
  // that the lines of the log begin at the left. At most once.
  Status make_raw(int terminal_fd);

  // At most for two descriptors.
  Status make_nonblocking(int fd);

 private:
  TerminalGuard() = default;
};

}  // namespace vmm
