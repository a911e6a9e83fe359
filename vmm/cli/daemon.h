// Daemon: --daemonize. The process that the person started waits until the guest runs, or does not, and ends
// with 0 or with the status that vmm ends with otherwise; the guest runs in another one, which has no
// terminal.
//
// Threads: the main thread, before others start.
#pragma once

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm::cli {

class Daemon {
 public:
  // Returns in the new process; what it says on stderr until ready() the person sees. It is killed where the
  // person gives up before.
  static Result<Daemon> begin();

  // The guest runs: the process that waits ends with 0. Standard input, output and error are /dev/null from
  // now on. Nothing happens the second time.
  void ready();

 private:
  explicit Daemon(UniqueFd caller) : caller_(std::move(caller)) {}

  UniqueFd caller_;  // the end of a pipe that it reads
};

}  // namespace vmm::cli
