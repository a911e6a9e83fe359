#include "vmm/cli/run_guest.h"

#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vmm/base/event_loop.h"
#include "vmm/base/log.h"
#include "vmm/base/unique_fd.h"
#include "vmm/base/unix_socket.h"
#include "vmm/cli/read_guest.h"
#include "vmm/control/control_server.h"
#include "vmm/control/guest_folder.h"
#include "vmm/control/machine_guest.h"
#include "vmm/control/metrics_server.h"
#include "vmm/domain/load.h"
#include "vmm/domain/quick_domain.h"
#include "vmm/domain/setting_document.h"
#include "vmm/domain/write_domain.h"
#include "vmm/machine/output_files.h"
#include "vmm/machine/secrets.h"
#include "vmm/machine/throwaway_disk.h"

namespace vmm::cli {
namespace {

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
    static_cast<void>(::signal(SIGXFSZ, SIG_IGN));  // the write fails, and its owner says so
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

// The socket at which the guest is controlled, and the folder that it is found in.
struct ControlSocket {
  std::optional<control::GuestFolder> folder;
  std::optional<UnixListener> listener;
  std::string missing_because;  // empty where there is a listener
};

Result<ControlSocket> listen_at(const std::string& path) {
  ControlSocket socket;
  VMM_ASSIGN_OR_RETURN(UnixListener listener, control::ControlServer::listen(path));
  socket.listener.emplace(std::move(listener));
  return socket;
}

Result<ControlSocket> listen_by_name(const std::string& name) {
  VMM_ASSIGN_OR_RETURN(const std::filesystem::path path, control::control_socket_of(name));
  VMM_ASSIGN_OR_RETURN(control::GuestFolder folder, control::GuestFolder::create(name));
  VMM_ASSIGN_OR_RETURN(ControlSocket socket, listen_at(path));
  socket.folder.emplace(std::move(folder));
  return socket;
}

// A guest that nobody asked to be controllable runs without, too.
Result<ControlSocket> listen(const domain::Domain& domain, const Options& options) {
  if (!options.control_path.empty()) {
    return listen_at(options.control_path);
  }
  auto by_name = listen_by_name(domain.name);
  if (!by_name && options.throwaway.every_disk) {
    // One of many, perhaps.
    if (auto by_process = listen_by_name(fmt::format("{}-{}", domain.name, ::getpid()))) {
      return by_process;
    }
  }
  if (!by_name) {
    ControlSocket none;
    none.missing_because = by_name.error().message();
    return none;
  }
  return by_name;
}

// Its time begins when the loop turns.
Result<EventLoop::Timer> start_timeout(const Options& options, EventLoop& loop, Machine& machine) {
  if (!options.timeout) {
    return EventLoop::Timer();
  }
  const std::chrono::duration<double> limit = *options.timeout;
  VMM_ASSIGN_OR_RETURN(EventLoop::Timer timer, loop.make_timer([limit, &machine] {
    if (machine.time_out()) {
      log::tell(
          fmt::format("the guest has not ended after {} s (--timeout), and is ended now", limit.count()));
    }
  }));
  timer.arm(*options.timeout);
  return timer;
}

// The guest's images are closed when this returns.
Result<MachineEnd> run_machine(const domain::Domain& domain, EventLoop& loop, const Options& options,
                               const DiskSecrets& secrets, EndSignals& signals, ControlSocket socket,
                               std::optional<control::MetricsListener> metrics,
                               std::vector<ThrowawayDisk>& throwaway_disks, GuestReport& report) {
  VMM_ASSIGN_OR_RETURN(const std::unique_ptr<Machine> machine, Machine::build(domain, loop, secrets));
  VMM_ASSIGN_OR_RETURN(throwaway_disks, machine->disks().throwaway_disks());
  VMM_TRY(signals.watch(loop, *machine));
  control::MachineGuest guest(domain, *machine, loop);
  std::unique_ptr<control::ControlServer> server;
  if (!socket.listener) {
    log::warning("vmm ctl will not reach this guest: {}; --control PATH makes its socket elsewhere",
                 socket.missing_because);
  } else {
    VMM_ASSIGN_OR_RETURN(server, control::ControlServer::create(loop, guest, *std::move(socket.listener)));
  }
  std::unique_ptr<control::MetricsServer> metrics_server;
  if (metrics) {
    VMM_ASSIGN_OR_RETURN(metrics_server, control::MetricsServer::create(loop, guest, *std::move(metrics)));
  }
  VMM_ASSIGN_OR_RETURN(const EventLoop::Timer timeout, start_timeout(options, loop, *machine));
  VMM_ASSIGN_OR_RETURN(const MachineEnd end, machine->run());
  if (end == MachineEnd::kExit) {
    report.status = machine->exit_status();
  } else if (report.is_expected && (end == MachineEnd::kPowerOff || end == MachineEnd::kQuit)) {
    log::tell("the guest ended without reporting a status at its exit port");
  }
  return end;
}

// Empty: the guest has ended itself, and well.
std::string why_not_to_commit(const Result<MachineEnd>& end, const GuestReport& report) {
  if (end && *end == MachineEnd::kExit && report.status) {
    return *report.status == 0 ? "" : fmt::format("it reported status {}", *report.status);
  }
  return end && *end == MachineEnd::kPowerOff ? "" : "it has not switched itself off";
}

Result<domain::Domain> read_domain(const Options& options) {
  VMM_ASSIGN_OR_RETURN(domain::Reading reading, read_guest(options));
  return domain::take_domain(std::move(reading));
}

}  // namespace

Result<std::string> printed_domain(const Options& options) {
  log::set_level(options.log_level);
  VMM_ASSIGN_OR_RETURN(domain::Domain domain, read_domain(options));
  VMM_TRY(domain::make_throwaway(domain, options.throwaway));
  return options.quick && options.settings.empty() ? domain::quick_domain_text(*options.quick)
                                                   : domain::domain_text(domain);
}

std::string printed_settings() { return domain::settings_list(); }

Result<MachineEnd> run_guest(const Options& options, GuestReport& report) {
  log::set_level(options.log_level);
  VMM_ASSIGN_OR_RETURN(domain::Domain domain, read_domain(options));
  report.is_expected = domain.exit_port.has_value();
  VMM_TRY(apply_options(options, domain));
  if (!options.log_path.empty()) {
    VMM_TRY(refuse_as_output(domain, options.log_path));
    VMM_TRY(log::open(options.log_path));
  }
  VMM_ASSIGN_OR_RETURN(const DiskSecrets secrets, read_secrets(options.secrets));
  VMM_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::create());
  VMM_ASSIGN_OR_RETURN(EndSignals signals, EndSignals::block());
  VMM_ASSIGN_OR_RETURN(ControlSocket socket, listen(domain, options));
  std::optional<control::MetricsListener> metrics;
  if (!options.metrics_place.empty()) {
    VMM_ASSIGN_OR_RETURN(control::MetricsListener listener,
                         control::MetricsListener::listen(options.metrics_place));
    metrics.emplace(std::move(listener));
  }
  std::vector<ThrowawayDisk> throwaway_disks;
  auto end = run_machine(domain, *loop, options, secrets, signals, std::move(socket), std::move(metrics),
                         throwaway_disks, report);
  VMM_TRY(finish_throwaway(throwaway_disks, why_not_to_commit(end, report), log::tell));
  return end;
}

}  // namespace vmm::cli
