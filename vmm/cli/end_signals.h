// EndSignals: signals that end the guest, as events of the main loop. The first SIGTERM or SIGINT presses the
// guest's power button; the second, and SIGQUIT and SIGHUP at once, end the run.
//
// Threads: the main thread's.
#pragma once

#include <chrono>
#include <optional>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/unique_fd.h"
#include "vmm/machine/machine.h"

namespace vmm::cli {

struct SignalMeanings {
  bool hangup_reopens_log = false;  // in place of ending the run: there is no terminal
  // How long a guest has from its power button to its end; absent: as long as it likes.
  std::optional<std::chrono::milliseconds> shutdown_timeout;
};

class EndSignals {
 public:
  // Blocks them for this thread and all that it starts from now on.
  static Result<EndSignals> block(const SignalMeanings& meanings);
  EndSignals(EndSignals&&) noexcept = default;  // before watch()
  EndSignals& operator=(EndSignals&&) = delete;
  EndSignals(const EndSignals&) = delete;
  EndSignals& operator=(const EndSignals&) = delete;
  ~EndSignals() = default;

  // REQUIRES: loop and machine outlive what is left of the loop's run.
  Status watch(EventLoop& loop, Machine& machine);

 private:
  EndSignals(UniqueFd fd, const SignalMeanings& meanings) : fd_(std::move(fd)), meanings_(meanings) {}
  void on_signal(Machine& machine);
  void ask_politely(Machine& machine);

  UniqueFd fd_;
  SignalMeanings meanings_;
  EventLoop::Watch watch_;
  EventLoop::Timer patience_;
  bool has_asked_politely_ = false;
};

}  // namespace vmm::cli
