#include "vmm/cli/run_guest.h"

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vmm/base/event_loop.h"
#include "vmm/base/journal.h"
#include "vmm/base/log.h"
#include "vmm/base/printable.h"
#include "vmm/base/service_manager.h"
#include "vmm/base/unix_socket.h"
#include "vmm/cli/daemon.h"
#include "vmm/cli/end_signals.h"
#include "vmm/cli/pid_file.h"
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

// Nothing where a guest of this name runs.
Result<std::optional<ControlSocket>> listen_by_name(const std::string& name) {
  VMM_ASSIGN_OR_RETURN(const std::filesystem::path path, control::control_socket_of(name));
  VMM_ASSIGN_OR_RETURN(std::optional<control::GuestFolder> folder, control::GuestFolder::create(name));
  if (!folder) {
    return std::nullopt;
  }
  VMM_ASSIGN_OR_RETURN(ControlSocket socket, listen_at(path));
  socket.folder.emplace(*std::move(folder));
  return socket;
}

// An error where a guest of this name runs; of throwaway ones there may be any number. Where a socket cannot
// be made, a guest that nobody asked to be controllable runs without.
Result<ControlSocket> listen(const domain::Domain& domain, const Options& options) {
  if (!options.control_path.empty()) {
    return listen_at(options.control_path);
  }
  ControlSocket none;
  for (const std::string& name : {domain.name, fmt::format("{}-{}", domain.name, ::getpid())}) {
    auto socket = listen_by_name(name);
    if (socket && *socket) {
      return **std::move(socket);
    }
    if (socket && !options.throwaway.every_disk) {
      return std::unexpected(control::name_is_taken(name));
    }
    none.missing_because = socket ? control::name_is_taken(name).message() : socket.error().message();
    if (!socket) {
      break;
    }
  }
  return none;
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

// In the background a console has no terminal; one that is logged needs none.
Status leave_terminal(domain::Domain& domain) {
  const auto leave = [&domain](domain::Serial& end, std::string_view element) -> Status {
    if (end.backend != domain::CharBackend::kStdio) {
      return {};
    }
    if (end.log_path.empty()) {
      return fail_configuration(
          "{}: {} of type 'stdio' has no terminal with --daemonize; give it a <log file='…'/> or another "
          "type, as 'pty' "
          "(vmm ctl {} console attaches to any)",
          domain.where(end.line), element, domain.name);
    }
    end.backend = domain::CharBackend::kNull;
    return {};
  };
  for (domain::Serial& serial : domain.serials) {
    VMM_TRY(leave(serial, "<serial>"));
  }
  for (domain::Serial& console : domain.virtio_consoles) {
    VMM_TRY(leave(console, "<console>"));
  }
  return domain.debug_console ? leave(domain.debug_console->end, "<serial>") : Status();
}

// Who runs vmm, besides a person.
struct Supervisors {
  std::optional<Daemon> daemon;
  std::optional<PidFile> pid_file;
};

// The log of a daemon goes on elsewhere than stderr, which is gone then.
void leave_stderr(const Options& options) {
  if (!options.log_path.empty() || log::is_in_journal()) {
    return;
  }
  if (auto journal = Journal::open()) {
    log::open_journal(*std::move(journal));
  } else {
    log::warning("from here on the log goes nowhere: {}; give --log FILE", journal.error().message());
  }
}

void tell_that_it_runs(const domain::Domain& domain, const Options& options, Supervisors& supervisors) {
  if (supervisors.daemon) {
    leave_stderr(options);
    supervisors.daemon->ready();
    tell_service_manager(fmt::format("MAINPID={}\n", ::getpid()));
  }
  tell_service_manager(fmt::format("READY=1\nSTATUS=The guest {} runs\n", printable(domain.name)));
}

// Where others come in.
struct Doors {
  ControlSocket control;
  std::optional<control::MetricsListener> metrics;
};

// The guest's images are closed when this returns.
Result<MachineEnd> run_machine(const domain::Domain& domain, EventLoop& loop, const Options& options,
                               const DiskSecrets& secrets, EndSignals& signals, Doors doors,
                               Supervisors& supervisors, std::vector<ThrowawayDisk>& throwaway_disks,
                               GuestReport& report) {
  VMM_ASSIGN_OR_RETURN(const std::unique_ptr<Machine> machine, Machine::build(domain, loop, secrets));
  VMM_ASSIGN_OR_RETURN(throwaway_disks, machine->disks().throwaway_disks());
  VMM_TRY(signals.watch(loop, *machine));
  control::MachineGuest guest(domain, *machine, loop);
  std::unique_ptr<control::ControlServer> server;
  if (!doors.control.listener) {
    log::warning("vmm ctl will not reach this guest: {}; --control PATH makes its socket elsewhere",
                 doors.control.missing_because);
  } else {
    VMM_ASSIGN_OR_RETURN(server,
                         control::ControlServer::create(loop, guest, *std::move(doors.control.listener)));
  }
  std::unique_ptr<control::MetricsServer> metrics_server;
  if (doors.metrics) {
    VMM_ASSIGN_OR_RETURN(metrics_server,
                         control::MetricsServer::create(loop, guest, *std::move(doors.metrics)));
  }
  VMM_ASSIGN_OR_RETURN(const EventLoop::Timer timeout, start_timeout(options, loop, *machine));
  loop.post([&] { tell_that_it_runs(domain, options, supervisors); });  // it turns when the guest runs
  VMM_ASSIGN_OR_RETURN(const MachineEnd end, machine->run());
  tell_service_manager("STOPPING=1\nSTATUS=The guest has ended\n");
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
  log::set_levels(options.log_levels);
  VMM_ASSIGN_OR_RETURN(domain::Domain domain, read_domain(options));
  VMM_TRY(domain::make_throwaway(domain, options.throwaway));
  return options.quick && options.settings.empty() ? domain::quick_domain_text(*options.quick)
                                                   : domain::domain_text(domain);
}

std::string printed_settings() { return domain::settings_list(); }

Result<MachineEnd> run_guest(const Options& options, GuestReport& report) {
  log::set_levels(options.log_levels);
  Supervisors supervisors;
  if (options.is_daemon) {
    VMM_ASSIGN_OR_RETURN(supervisors.daemon, Daemon::begin());
  }
  VMM_ASSIGN_OR_RETURN(domain::Domain domain, read_domain(options));
  report.is_expected = domain.exit_port.has_value();
  log::set_guest(domain.name);
  if (options.is_daemon) {
    VMM_TRY(leave_terminal(domain));
  }
  VMM_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::create());
  VMM_ASSIGN_OR_RETURN(EndSignals signals, EndSignals::block({.hangup_reopens_log = options.is_daemon,
                                                              .shutdown_timeout = options.shutdown_timeout}));
  VMM_ASSIGN_OR_RETURN(ControlSocket socket, listen(domain, options));
  Doors doors{.control = std::move(socket), .metrics = std::nullopt};
  if (!options.metrics_place.empty()) {
    VMM_ASSIGN_OR_RETURN(control::MetricsListener listener,
                         control::MetricsListener::listen(options.metrics_place));
    doors.metrics.emplace(std::move(listener));
  }
  VMM_TRY(apply_options(options, domain));
  if (!options.log_path.empty()) {
    VMM_TRY(refuse_as_output(domain, options.log_path));
    VMM_TRY(log::open(options.log_path));
  }
  if (!options.pid_path.empty()) {
    VMM_TRY(refuse_as_output(domain, options.pid_path));
    VMM_ASSIGN_OR_RETURN(PidFile pid_file, PidFile::create(options.pid_path));
    supervisors.pid_file.emplace(std::move(pid_file));
  }
  VMM_ASSIGN_OR_RETURN(const DiskSecrets secrets, read_secrets(options.secrets));
  std::vector<ThrowawayDisk> throwaway_disks;
  auto end = run_machine(domain, *loop, options, secrets, signals, std::move(doors), supervisors,
                         throwaway_disks, report);
  VMM_TRY(finish_throwaway(throwaway_disks, why_not_to_commit(end, report),
                           [](const std::string& text) { log::tell(text); }));
  return end;
}

}  // namespace vmm::cli
