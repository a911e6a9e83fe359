// The command line of vmm. Exit statuses are a promise (README.md): 0 the guest ended well, 1 the host or an
// image failed, 2 the command line or the domain file is wrong, 3 the guest crashed.
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/log.h"
#include "vmm/base/unique_fd.h"
#include "vmm/base/unix_socket.h"
#include "vmm/control/control_server.h"
#include "vmm/control/ctl.h"
#include "vmm/control/guest_folder.h"
#include "vmm/control/machine_guest.h"
#include "vmm/domain/install_disc.h"
#include "vmm/domain/load.h"
#include "vmm/domain/throwaway.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/output_files.h"
#include "vmm/machine/secrets.h"
#include "vmm/version.h"

namespace vmm {
namespace {

enum ExitStatus : int { kGuestEnded = 0, kHostFailed = 1, kBadConfiguration = 2, kGuestCrashed = 3 };

struct Options {
  std::string domain_path;
  std::string install_path;
  std::string control_path;
  std::string log_path;
  log::Level log_level = log::Level::kWarning;
  std::vector<std::string> secrets;
  domain::ThrowawayOptions throwaway;
};

int report(const Error& error) {
  // Not through the log alone, which --log may have sent elsewhere: the person who typed the command must see
  // it. What is wrong with a domain file is a line for each.
  std::string_view rest = error.message();
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    static_cast<void>(std::fprintf(stderr, "vmm: %.*s\n", static_cast<int>(line.size()), line.data()));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
  log::to_file(error.message());
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

// The guest's images are closed when this returns.
Result<MachineEnd> run_machine(const domain::Domain& domain, EventLoop& loop, const DiskSecrets& secrets,
                               EndSignals& signals, ControlSocket socket,
                               std::vector<Disks::Overlay>& overlays) {
  VMM_ASSIGN_OR_RETURN(const std::unique_ptr<Machine> machine, Machine::build(domain, loop, secrets));
  overlays = machine->disks().overlays();
  VMM_TRY(signals.watch(loop, *machine));
  control::MachineGuest guest(domain, *machine);
  std::unique_ptr<control::ControlServer> server;
  if (!socket.listener) {
    log::warning("vmm ctl will not reach this guest: {}; --control PATH makes its socket elsewhere",
                 socket.missing_because);
  } else {
    VMM_ASSIGN_OR_RETURN(server, control::ControlServer::create(loop, guest, *std::move(socket.listener)));
  }
  return machine->run();
}

void tell(const std::string& text) {
  static_cast<void>(std::fprintf(stderr, "vmm: %s\n", text.c_str()));
  log::to_file(text);
}

// What the guest wrote to its throwaway disks is kept or gone, and its user knows which. `overlays`: as they
// were at its start.
Status finish(const std::vector<Disks::Overlay>& overlays) {
  constexpr double kMiB = 1 << 20;
  std::string thrown_away;
  Status first_failure;
  for (const Disks::Overlay& overlay : overlays) {
    const uint64_t bytes = overlay.file->allocated_bytes();
    const double mib = static_cast<double>(bytes - std::min(bytes, overlay.bytes_now)) / kMiB;
    if (overlay.kept_as.empty()) {
      thrown_away += fmt::format("{}{:.1f} MiB of {}", thrown_away.empty() ? "" : ", ", mib, overlay.target);
      continue;
    }
    if (const Status kept = overlay.file->keep(overlay.kept_as); !kept) {
      first_failure = first_failure ? kept : first_failure;
      continue;
    }
    tell(fmt::format("what the guest wrote to {} is kept in {} ({:.1f} MiB)", overlay.target,
                     overlay.kept_as.native(), mib));
  }
  if (!thrown_away.empty()) {
    tell(fmt::format("what the guest wrote is thrown away: {}", thrown_away));
  }
  return first_failure;
}

Result<MachineEnd> run(const Options& options) {
  log::set_level(options.log_level);
  VMM_ASSIGN_OR_RETURN(domain::Domain domain, domain::load_domain(options.domain_path));
  if (!options.install_path.empty()) {
    VMM_TRY(domain::insert_install_disc(domain, std::filesystem::absolute(options.install_path)));
  }
  VMM_TRY(domain::make_throwaway(domain, options.throwaway));
  if (!options.log_path.empty()) {
    VMM_TRY(refuse_as_output(domain, options.log_path));
    VMM_TRY(log::open(options.log_path));
  }
  VMM_ASSIGN_OR_RETURN(const DiskSecrets secrets, read_secrets(options.secrets));
  VMM_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::create());
  VMM_ASSIGN_OR_RETURN(EndSignals signals, EndSignals::block());
  VMM_ASSIGN_OR_RETURN(ControlSocket socket, listen(domain, options));
  std::vector<Disks::Overlay> overlays;
  auto end = run_machine(domain, *loop, secrets, signals, std::move(socket), overlays);
  VMM_TRY(finish(overlays));
  return end;
}

// Else a disk image could be opened as descriptor 2, and get our error messages.
void open_missing_standard_descriptors() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  static_cast<void>(UniqueFd(fd));
}

constexpr const char* kHelpText =
    R"(Runs the guest that a libvirt-style domain file describes, on Linux KVM.
Usage: vmm --domain FILE [OPTIONS]
       vmm ctl GUEST COMMAND    controls a running guest; see vmm ctl --help

  --domain FILE       the domain file (XML, as libvirt writes it)
  --install ISO       put this disc into the guest's CD-ROM drive (one is added if it has none) and boot it
                      first, once: when the guest restarts, it boots from its disk
  --ephemeral[=memory]
                      what the guest writes to any of its disks is thrown away at the end; until then it is
                      beside the disk's image, or in memory; the images are only read
  --ephemeral-dir DIR
                      it is in this folder, as a file without a name
  --keep [DISK=]FILE  what was written to the throwaway disk is not thrown away: FILE is then a qcow2 image
                      that stands on the disk's image; may be repeated
  --control PATH      make the control socket there, and not where vmm ctl finds the guest by its name
  --secret SECRET     id=NAME,file=FILE or id=NAME,env=VARIABLE: the passphrase of an encrypted disk, by the
                      name that its <secret> has; may be repeated
  --log FILE          write the log to FILE instead of standard error, once the domain file is read; why vmm
                      ends stands in both
  --log-level LEVEL   debug, info, warning (what is used if absent), error or off
  --version           print the version
  -h, --help          print this help

In the guest's terminal: Ctrl-A x ends the guest, Ctrl-A h shows all keys.
SIGTERM presses the guest's power button; a second one, or SIGQUIT, ends at once.
Exit status: 0 the guest ended, 1 the host or an image failed, 2 the command line or the
domain file is wrong, 3 the guest crashed.
)";

struct LevelName {
  std::string_view name;
  log::Level level;
};
constexpr LevelName kLevelNames[] = {{"debug", log::Level::kDebug},
                                     {"info", log::Level::kInfo},
                                     {"warning", log::Level::kWarning},
                                     {"error", log::Level::kError},
                                     {"off", log::Level::kOff}};

Status read_log_level(std::string_view text, Options& options) {
  for (const LevelName& each : kLevelNames) {
    if (each.name == text) {
      options.log_level = each.level;
      return {};
    }
  }
  return fail_configuration("--log-level {}: debug, info, warning, error and off can be", text);
}

Status read_ephemeral(const char* where, Options& options) {
  options.throwaway.every_disk = true;
  if (where != nullptr && std::string_view(where) != "memory") {
    return fail_configuration("--ephemeral={}: only memory can be named there; folders with --ephemeral-dir",
                              where);
  }
  options.throwaway.in_memory = where != nullptr;
  return {};
}

enum class Command : uint8_t { kRun, kHelp, kVersion };

// getopt(3): a library for command lines made a start noticeably longer (docs/limits.md, "start").
Result<Command> read_command_line(int argument_count, char** arguments, Options& options) {
  enum Choice : int {
    kDomain = 256,
    kInstall,
    kControl,
    kSecret,
    kLog,
    kLogLevel,
    kEphemeral,
    kEphemeralDir,
    kKeep,
    kShowVersion
  };
  static constexpr option kOptions[] = {{"domain", required_argument, nullptr, kDomain},
                                        {"install", required_argument, nullptr, kInstall},
                                        {"control", required_argument, nullptr, kControl},
                                        {"secret", required_argument, nullptr, kSecret},
                                        {"log", required_argument, nullptr, kLog},
                                        {"log-level", required_argument, nullptr, kLogLevel},
                                        {"ephemeral", optional_argument, nullptr, kEphemeral},
                                        {"ephemeral-dir", required_argument, nullptr, kEphemeralDir},
                                        {"keep", required_argument, nullptr, kKeep},
                                        {"version", no_argument, nullptr, kShowVersion},
                                        {"help", no_argument, nullptr, 'h'},
                                        {nullptr, 0, nullptr, 0}};
  opterr = 0;
  int choice = 0;
  while ((choice = ::getopt_long(argument_count, arguments, ":h", kOptions, nullptr)) != -1) {
    switch (choice) {
      case kDomain:
        if (!options.domain_path.empty()) {
          return fail_configuration("--domain {}: one guest at a time; --domain {} was given already", optarg,
                                    options.domain_path);
        }
        options.domain_path = optarg;
        break;
      case kInstall:
        options.install_path = optarg;
        break;
      case kControl:
        options.control_path = optarg;
        break;
      case kSecret:
        options.secrets.emplace_back(optarg);
        break;
      case kLog:
        options.log_path = optarg;
        break;
      case kLogLevel:
        VMM_TRY(read_log_level(optarg, options));
        break;
      case kEphemeral:
        VMM_TRY(read_ephemeral(optarg, options));
        break;
      case kEphemeralDir:
        options.throwaway.folder = optarg;
        break;
      case kKeep:
        options.throwaway.keep.emplace_back(optarg);
        break;
      case kShowVersion:
        return Command::kVersion;
      case 'h':
        return Command::kHelp;
      case ':':
        return fail_configuration("{}: a value is missing behind it; see --help", arguments[optind - 1]);
      default:
        // Of several letters behind one dash, getopt has not passed the argument yet.
        return optopt > 0 && optopt < kDomain
                   ? fail_configuration("-{}: there is no such option; see --help", static_cast<char>(optopt))
                   : fail_configuration("{}: there is no such option; see --help", arguments[optind - 1]);
    }
  }
  if (optind < argument_count) {
    return fail_configuration("'{}' belongs to no option; see --help", arguments[optind]);
  }
  if (options.domain_path.empty()) {
    return fail_configuration("--domain FILE is missing: the domain file to run; see --help");
  }
  return Command::kRun;
}

// What each thread would cost a guest's start, and a host with hundreds of guests.
void make_threads_small() {
  // One heap for all: data paths allocate nothing.
  ::mallopt(M_ARENA_MAX, 1);
  // A stack of 8 MiB gets a transparent huge page with the first byte that is touched.
  constexpr size_t kStackBytes = size_t{1} << 20U;
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, kStackBytes);
  ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
}

int main_with(int argument_count, char** arguments) {
  make_threads_small();
  if (argument_count > 1 && std::string_view(arguments[1]) == "ctl") {
    const auto done = control::run_ctl(std::vector<std::string>(arguments + 2, arguments + argument_count));
    return done ? kGuestEnded : report(done.error());
  }
  Options options;
  const auto command = read_command_line(argument_count, arguments, options);
  if (!command) {
    return report(command.error());
  }
  if (*command != Command::kRun) {
    const bool is_printed =
        std::fputs(*command == Command::kHelp ? kHelpText : "vmm " VMM_VERSION "\n", stdout) >= 0 &&
        std::fflush(stdout) == 0;
    return is_printed
               ? kGuestEnded
               : report(Error(fmt::format("cannot write to the standard output: {}", errno_text(errno))));
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
