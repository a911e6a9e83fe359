// The command line of vmm. Exit statuses are a promise (README.md): 0 the guest ended well, 1 the host or an
// image failed, 2 the command line or the domain file is wrong, 3 the guest crashed.
#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/log.h"
#include "vmm/base/unique_fd.h"
#include "vmm/domain/load.h"
#include "vmm/machine/machine.h"
#include "vmm/version.h"

namespace vmm {
namespace {

enum ExitStatus : int { kGuestEnded = 0, kHostFailed = 1, kBadConfiguration = 2, kGuestCrashed = 3 };

struct Options {
  std::string domain_path;
  std::string log_path;
  log::Level log_level = log::Level::kWarning;
};

int report(const Error& error) {
  // Not through the log, which --log may have sent elsewhere: the person who typed the command must see it.
  static_cast<void>(std::fprintf(stderr, "vmm: %s\n", error.message().c_str()));
  return error.kind() == ErrorKind::kConfiguration ? kBadConfiguration : kHostFailed;
}

// Signals that end the guest, as events of the main loop. The first SIGTERM or SIGINT presses the guest's
// power button; the second, and SIGQUIT and SIGHUP at once, end the run.
class EndSignals {
 public:
  // Blocks them for this thread and all that it starts from now on.
  static Result<EndSignals> block() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGQUIT, SIGHUP}) {
      ::sigaddset(&set, number);
    }
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    static_cast<void>(::signal(SIGPIPE, SIG_IGN));
    UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd) {
      return fail("cannot watch for signals: {}", errno_text(errno));
    }
    return EndSignals(std::move(fd));
  }

  Status watch(EventLoop& loop, Machine& machine) {
    VMM_ASSIGN_OR_RETURN(watch_,
                         loop.watch(fd_.get(), EPOLLIN, [this, &machine](uint32_t) { on_signal(machine); }));
    return {};
  }

 private:
  explicit EndSignals(UniqueFd fd) : fd_(std::move(fd)) {}

  void on_signal(Machine& machine) {
    signalfd_siginfo info{};
    while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
      const bool is_polite = info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT;
      if (is_polite && !std::exchange(has_asked_politely_, true)) {
        machine.press_power_button();
      } else {
        machine.quit();
      }
    }
  }

  UniqueFd fd_;
  EventLoop::Watch watch_;
  bool has_asked_politely_ = false;
};

Result<MachineEnd> run(const Options& options) {
  VMM_TRY(log::open(options.log_level, options.log_path));
  VMM_ASSIGN_OR_RETURN(const domain::Domain domain, domain::load_domain(options.domain_path));
  VMM_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::create());
  VMM_ASSIGN_OR_RETURN(EndSignals signals, EndSignals::block());
  VMM_ASSIGN_OR_RETURN(const std::unique_ptr<Machine> machine, Machine::build(domain, *loop));
  VMM_TRY(signals.watch(*loop, *machine));
  return machine->run();
}

// Else a disk image could be opened as descriptor 2, and get our error messages.
void open_missing_standard_descriptors() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  static_cast<void>(UniqueFd(fd));
}

int main_with(int argument_count, char** arguments) {
  Options options;
  CLI::App app{"Runs the guest that a libvirt-style domain file describes, on Linux KVM."};
  app.footer(
      "In the guest's terminal: Ctrl-A x ends the guest, Ctrl-A h shows all keys.\n"
      "SIGTERM presses the guest's power button; a second one, or SIGQUIT, ends at once.\n"
      "Exit status: 0 the guest ended, 1 the host or an image failed, 2 the command line or the\n"
      "domain file is wrong, 3 the guest crashed.");
  app.set_version_flag("--version", "vmm " VMM_VERSION);
  app.add_option("--domain", options.domain_path, "The domain file (XML, as libvirt writes it)")
      ->required()
      ->type_name("FILE");
  app.add_option("--log", options.log_path, "Write the log to FILE instead of standard error")
      ->type_name("FILE");
  const std::map<std::string, log::Level> levels = {{"debug", log::Level::kDebug},
                                                    {"info", log::Level::kInfo},
                                                    {"warning", log::Level::kWarning},
                                                    {"error", log::Level::kError},
                                                    {"off", log::Level::kOff}};
  app.add_option("--log-level", options.log_level,
                 "debug, info, warning (what is used if absent), error or off")
      ->transform(CLI::CheckedTransformer(levels).description(""))
      ->type_name("LEVEL");
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kGuestEnded : kBadConfiguration;
  }

  const auto end = run(options);
  if (!end) {
    return report(end.error());
  }
  return *end == MachineEnd::kCrash ? kGuestCrashed : kGuestEnded;
}

}  // namespace
}  // namespace vmm

int main(int argument_count, char** arguments) {
  vmm::open_missing_standard_descriptors();
  try {
    return vmm::main_with(argument_count, arguments);
  } catch (const std::exception& error) {
    // Only libraries throw, and only when memory runs out or we misuse them.
    static_cast<void>(std::fprintf(stderr, "vmm: %s\n", error.what()));
    return vmm::kHostFailed;
  }
}
