#include "vmm/cli/end_signals.h"

#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "vmm/base/log.h"
#include "vmm/base/service_manager.h"

namespace vmm::cli {

Result<EndSignals> EndSignals::block(const SignalMeanings& meanings) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGQUIT, SIGHUP}) {
    ::sigaddset(&set, number);
  }
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  static_cast<void>(::signal(SIGPIPE, SIG_IGN));
  static_cast<void>(::signal(SIGXFSZ, SIG_IGN));  // the write fails, and its owner says so
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) {
    return fail("cannot watch for signals: {}", errno_text(errno));
  }
  return EndSignals(std::move(fd), meanings);
}

Status EndSignals::watch(EventLoop& loop, Machine& machine) {
  if (meanings_.shutdown_timeout) {
    VMM_ASSIGN_OR_RETURN(patience_, loop.make_timer([this, &machine] {
      const std::chrono::duration<double> limit = *meanings_.shutdown_timeout;
      log::tell(fmt::format(
          "the guest has not ended {} s after its power button was pressed (--shutdown-timeout), and "
          "is ended now",
          limit.count()));
      machine.quit();
    }));
  }
  VMM_ASSIGN_OR_RETURN(watch_,
                       loop.watch(fd_.get(), EPOLLIN, [this, &machine](uint32_t) { on_signal(machine); }));
  return {};
}

void EndSignals::on_signal(Machine& machine) {
  signalfd_siginfo info{};
  while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
    const bool is_polite = info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT;
    if (info.ssi_signo == SIGHUP && meanings_.hangup_reopens_log) {
      if (const Status status = log::reopen(); !status) {
        log::warning("{}", status.error().message());
      }
    } else if (is_polite && !std::exchange(has_asked_politely_, true)) {
      ask_politely(machine);
    } else {
      machine.quit();
    }
  }
}

void EndSignals::ask_politely(Machine& machine) {
  tell_service_manager("STOPPING=1\nSTATUS=The guest has been asked to shut down\n");
  machine.press_power_button();
  if (meanings_.shutdown_timeout) {
    patience_.arm(*meanings_.shutdown_timeout);
  }
}

}  // namespace vmm::cli
