#include "vmm/cli/options.h"

#include <fmt/ranges.h>
#include <getopt.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "vmm/base/option_words.h"
#include "vmm/cli/quick_options.h"

namespace vmm::cli {

const char* const kHelpText =
    R"(Runs the guest that a libvirt-style domain file describes, on Linux KVM.
Usage: vmm --domain FILE [OPTIONS]
       vmm run [OPTIONS]        runs a throwaway guest without such a file; see vmm run --help
       vmm clone FILE NAME      makes another guest, with disks on those of this one; see vmm clone --help
       vmm ctl GUEST COMMAND    controls a running guest; see vmm ctl --help
       vmm list                 the guests that run; see vmm list --help

  --domain FILE       the domain file (XML, as libvirt writes it). A name without a / that is no file here is
                      looked up: NAME.xml in this folder, in ~/.config/vmm (or $XDG_CONFIG_HOME/vmm) and in
                      /etc/libvirt/qemu. - is standard input
  --check             run nothing: say all that is wrong with the file, and what it wants of this host and does
                      not get: KVM, memory, files, their formats, who uses them. Changes nothing
  --strict            warnings about the domain are errors
  --message-format text|json
                      of what is told on standard error; json is an object a line, with the members severity,
                      file, line, element, message and hint. Text is coloured on a terminal, without NO_COLOR
  --print-example [minimal|install|throwaway|microvm]
                      print a domain file to begin with, with comments (minimal if none is named)
  --install ISO       put this disc into the guest's CD-ROM drive (one is added if it has none) and boot it
                      first, once: when the guest restarts, it boots from its disk
  --ephemeral[=memory]
                      what the guest writes to any of its disks is thrown away at the end; until then it is
                      beside the disk's image, or in memory; the images are only read
  --ephemeral-dir DIR
                      it is in this folder, as a file without a name
  --keep [DISK=]FILE  what was written to the throwaway disk is not thrown away: FILE is then a qcow2 image
                      that stands on the disk's image; may be repeated
  --commit            when the guest has switched itself off, what it wrote to its throwaway disks is written
                      into their images, if nobody else uses them
  --ephemeral-limit SIZE
                      all that it writes may take so much of the host's disk (as 500M, 20G); then it is paused,
                      or gets an error, as its disks' error_policy says
  --ephemeral-encrypt
                      what it writes is on the host's disk under a key only that is gone when vmm ends
  --set PATH=VALUE    another value for this run, as memory=2GiB, vcpu=4, disk.vda.source=other.qcow2,
                      disk.vda.cache=none or os.cmdline=TEXT; may be repeated; --set help prints all paths
  --print             print the domain that this is, with its defaults, as a domain file, and run nothing
  --timeout TIME      a guest that has not ended this long after its start is ended at once; 90 or 90s, 5m,
                      2h, 500ms
  --shutdown-timeout TIME
                      a guest that has not ended this long after SIGTERM pressed its power button is ended at once
  --daemonize         run in the background: the command ends when the guest runs, or with the status that says
                      why not. Without --log the log goes to the journal then
  --pidfile PATH      a file with the number of vmm's process while it runs
  --control PATH      make the control socket there, and not where vmm ctl finds the guest by its name
  --metrics PATH|PORT serve GET /metrics, in Prometheus' text format, at a unix socket of this path, or at this
                      port of 127.0.0.1, where every user of this machine may read them
  --secret SECRET     id=NAME,file=FILE or id=NAME,env=VARIABLE: the passphrase of an encrypted disk, by the
                      name that its <secret> has; may be repeated
  --dump-net FILE     write the packets of the guest's network interface to FILE, too, for Wireshark and tcpdump (pcap);
                      of several interfaces, to FILE-net0.pcap and so on. A file that is there is not written over
  --log FILE          write the log to FILE instead of standard error, once the domain file is read; why vmm
                      ends stands in both
  --log-level LEVEL[,PART=LEVEL...]
                      debug, info, warning (what is used if absent), error or off; of parts of vmm by their
                      names, as warning,disk=debug: boot, console, control, devices, disk, domain, firmware,
                      ide, kvm, machine, net, pci, virtio, vmm
  --version           print the version
  -h, --help          print this help

In the guest's terminal: Ctrl-A x ends the guest, Ctrl-A h shows all keys.
SIGTERM presses the guest's power button; a second one, or SIGQUIT or SIGHUP, ends at once. With --daemonize
SIGHUP opens the log file anew instead.
Exit status: 0 the guest ended, 1 the host or an image failed, 2 the command line or the
domain file is wrong, 3 the guest crashed, 124 --timeout ended it. Of a guest with <vmm:exit>
in its domain file: what it reports; 124 as above, 125 it reported nothing, 126 it crashed.
)";

namespace {

struct LevelName {
  std::string_view name;
  log::Level level;
};
constexpr LevelName kLevelNames[] = {{"debug", log::Level::kDebug},
                                     {"info", log::Level::kInfo},
                                     {"warning", log::Level::kWarning},
                                     {"error", log::Level::kError},
                                     {"off", log::Level::kOff}};

Result<log::Level> log_level_of(std::string_view name, std::string_view text) {
  const auto* const found = std::ranges::find(kLevelNames, name, &LevelName::name);
  if (found == std::end(kLevelNames)) {
    return fail_configuration("--log-level {}: debug, info, warning, error and off can be", text);
  }
  return found->level;
}

Result<log::Component> log_component_of(std::string_view name, std::string_view text) {
  const auto found = std::ranges::find(log::kComponentNames, name);
  if (found == log::kComponentNames.end()) {
    return fail_configuration("--log-level {}: vmm has no part '{}'; it has {}", text, name,
                              fmt::join(log::kComponentNames, ", "));
  }
  return static_cast<log::Component>(found - log::kComponentNames.begin());
}

// "warning,disk=debug": what has no name in front is of all that are not named, wherever it stands.
Status read_log_level(std::string_view text, Options& options) {
  std::optional<log::Level> others;
  std::vector<std::pair<log::Component, log::Level>> named;
  for (const std::string& word : split_option_words(text)) {
    const std::string_view view = word;
    const size_t equals = view.find('=');
    VMM_ASSIGN_OR_RETURN(
        const log::Level level,
        log_level_of(equals == std::string_view::npos ? view : view.substr(equals + 1), text));
    if (equals != std::string_view::npos) {
      VMM_ASSIGN_OR_RETURN(const log::Component component, log_component_of(view.substr(0, equals), text));
      named.emplace_back(component, level);
    } else if (std::exchange(others, level)) {
      return fail_configuration(
          "--log-level {}: has two levels without a part of vmm before them; leave one out", text);
    }
  }
  options.log_levels = log::Levels(others.value_or(log::Level::kWarning));
  for (const auto& [component, level] : named) {
    options.log_levels.set(component, level);
  }
  return {};
}

Status read_message_format(std::string_view text, Options& options) {
  if (text != "text" && text != "json") {
    return fail_configuration("--message-format {}: text and json can be", text);
  }
  options.message_format = text == "json" ? MessageFormat::kJson : MessageFormat::kText;
  return {};
}

// Its value may be a word of its own, which getopt(3) does not know of options that need none.
void read_example(int argument_count, char** arguments, Options& options) {
  options.example = "minimal";
  if (optarg != nullptr) {
    options.example = optarg;
  } else if (optind < argument_count && arguments[optind][0] != '-') {
    options.example = arguments[optind++];
  }
}

// Of two commands, one would be lost.
Status take_command(const char* option, Command wanted, Command& command) {
  if (command != Command::kRun && command != wanted) {
    return fail_configuration("--{}: there is another option that runs nothing; leave one of them out",
                              option);
  }
  command = wanted;
  return {};
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

// `vmm run`: the rest of the command line describes a guest, every disk of which is throwaway.
bool take_run(int& argument_count, char**& arguments, Options& options) {
  if (argument_count < 2 || std::string_view(arguments[1]) != "run") {
    return false;
  }
  options.quick.emplace().name = fmt::format("run-{}", ::getpid());
  options.throwaway.every_disk = true;
  --argument_count;
  ++arguments;
  return true;
}

Result<std::chrono::milliseconds> read_time(const char* option, std::string_view text) {
  using std::chrono::hours, std::chrono::milliseconds, std::chrono::minutes, std::chrono::seconds;
  static constexpr std::pair<std::string_view, milliseconds> kUnits[] = {
      {"", seconds(1)}, {"ms", milliseconds(1)}, {"s", seconds(1)}, {"m", minutes(1)}, {"h", hours(1)}};
  constexpr milliseconds kLongest = hours(24 * 365);
  uint64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  const std::string_view unit(end, text.data() + text.size());
  const auto* const found =
      std::ranges::find(kUnits, unit, &std::pair<std::string_view, milliseconds>::first);
  const bool is_time = error == std::errc() && found != std::end(kUnits) && count > 0;
  if (!is_time || count > static_cast<uint64_t>(kLongest / found->second)) {
    return fail_configuration("--{} {}: give a time of up to a year, as 90 (seconds), 500ms, 90s, 5m or 2h",
                              option, text);
  }
  return static_cast<int64_t>(count) * found->second;
}

// Of two, one would be lost.
template <typename Text>
Status take_once(const char* option, Text& value) {
  if (!value.empty()) {
    return fail_configuration("--{} {}: --{} {} was given already; give one of them", option, optarg, option,
                              std::string(value));
  }
  value = optarg;
  return {};
}

// No domain file says these: what is printed would be another guest than the one that runs with them.
Status check_printed(const Options& options) {
  const domain::ThrowawayOptions& throwaway = options.throwaway;
  const std::pair<std::string_view, bool> of_one_run[] = {{"--install", !options.install_path.empty()},
                                                          {"--ephemeral=memory", throwaway.in_memory},
                                                          {"--ephemeral-dir", !throwaway.folder.empty()},
                                                          {"--keep", !throwaway.keep.empty()},
                                                          {"--ephemeral-limit", !throwaway.limit.empty()},
                                                          {"--ephemeral-encrypt", throwaway.is_encrypted},
                                                          {"--commit", throwaway.is_committed},
                                                          {"--dump-net", !options.packet_path.empty()}};
  for (const auto& [name, is_given] : of_one_run) {
    if (is_given) {
      return fail_configuration("{}: is for a run, and no domain file says it; leave out it or --print",
                                name);
    }
  }
  return {};
}

}  // namespace

// getopt(3): a library for command lines made a start noticeably longer (docs/limits.md, "start").
Result<Command> read_command_line(int argument_count, char** arguments, Options& options) {
  enum Choice : int {
    kDomain = 256,
    kInstall,
    kControl,
    kMetrics,
    kSecret,
    kDumpNet,
    kLog,
    kLogLevel,
    kEphemeral,
    kEphemeralDir,
    kKeep,
    kEphemeralLimit,
    kEphemeralEncrypt,
    kCommit,
    kQuick,
    kPrint,
    kSet,
    kNetBoot,
    kExitPort,
    kTimeout,
    kShutdownTimeout,
    kDaemonize,
    kPidFile,
    kCheck,
    kStrict,
    kMessageFormat,
    kPrintExample,
    kShowVersion
  };
  static constexpr option kOptions[] = {{"domain", required_argument, nullptr, kDomain},
                                        {"install", required_argument, nullptr, kInstall},
                                        {"control", required_argument, nullptr, kControl},
                                        {"metrics", required_argument, nullptr, kMetrics},
                                        {"secret", required_argument, nullptr, kSecret},
                                        {"dump-net", required_argument, nullptr, kDumpNet},
                                        {"log", required_argument, nullptr, kLog},
                                        {"log-level", required_argument, nullptr, kLogLevel},
                                        {"ephemeral", optional_argument, nullptr, kEphemeral},
                                        {"ephemeral-dir", required_argument, nullptr, kEphemeralDir},
                                        {"keep", required_argument, nullptr, kKeep},
                                        {"ephemeral-limit", required_argument, nullptr, kEphemeralLimit},
                                        {"ephemeral-encrypt", no_argument, nullptr, kEphemeralEncrypt},
                                        {"commit", no_argument, nullptr, kCommit},
                                        {"kernel", required_argument, nullptr, kQuick},
                                        {"initrd", required_argument, nullptr, kQuick},
                                        {"append", required_argument, nullptr, kQuick},
                                        {"disk", required_argument, nullptr, kQuick},
                                        {"cdrom", required_argument, nullptr, kQuick},
                                        {"memory", required_argument, nullptr, kQuick},
                                        {"cpus", required_argument, nullptr, kQuick},
                                        {"name", required_argument, nullptr, kQuick},
                                        {"machine", required_argument, nullptr, kQuick},
                                        {"net", required_argument, nullptr, kQuick},
                                        {"forward", required_argument, nullptr, kQuick},
                                        {"netboot", optional_argument, nullptr, kNetBoot},
                                        {"exit-port", no_argument, nullptr, kExitPort},
                                        {"print", no_argument, nullptr, kPrint},
                                        {"set", required_argument, nullptr, kSet},
                                        {"timeout", required_argument, nullptr, kTimeout},
                                        {"shutdown-timeout", required_argument, nullptr, kShutdownTimeout},
                                        {"daemonize", no_argument, nullptr, kDaemonize},
                                        {"pidfile", required_argument, nullptr, kPidFile},
                                        {"check", no_argument, nullptr, kCheck},
                                        {"strict", no_argument, nullptr, kStrict},
                                        {"message-format", required_argument, nullptr, kMessageFormat},
                                        {"print-example", optional_argument, nullptr, kPrintExample},
                                        {"version", no_argument, nullptr, kShowVersion},
                                        {"help", no_argument, nullptr, 'h'},
                                        {nullptr, 0, nullptr, 0}};
  const bool is_run = take_run(argument_count, arguments, options);
  Command command = Command::kRun;
  opterr = 0;
  int choice = 0;
  int index = 0;
  while ((choice = ::getopt_long(argument_count, arguments, ":h", kOptions, &index)) != -1) {
    const bool may_be_empty = choice == kQuick && std::string_view(kOptions[index].name) == "append";
    if (choice >= kDomain && kOptions[index].has_arg == required_argument && *optarg == '\0' &&
        !may_be_empty) {
      return fail_configuration("--{}: its value is empty; give one, or leave the option out",
                                kOptions[index].name);
    }
    switch (choice) {
      case kDomain:
        if (!options.domain_path.empty()) {
          return fail_configuration("--domain {}: one guest at a time; --domain {} was given already", optarg,
                                    options.domain_path);
        }
        options.domain_path = optarg;
        break;
      case kInstall:
        VMM_TRY(take_once(kOptions[index].name, options.install_path));
        break;
      case kControl:
        VMM_TRY(take_once(kOptions[index].name, options.control_path));
        break;
      case kMetrics:
        VMM_TRY(take_once(kOptions[index].name, options.metrics_place));
        break;
      case kSecret:
        options.secrets.emplace_back(optarg);
        break;
      case kDumpNet:
        VMM_TRY(take_once(kOptions[index].name, options.packet_path));
        break;
      case kLog:
        VMM_TRY(take_once(kOptions[index].name, options.log_path));
        break;
      case kLogLevel:
        VMM_TRY(read_log_level(optarg, options));
        break;
      case kEphemeral:
        VMM_TRY(read_ephemeral(optarg, options));
        break;
      case kEphemeralDir:
        VMM_TRY(take_once(kOptions[index].name, options.throwaway.folder));
        break;
      case kKeep:
        options.throwaway.keep.emplace_back(optarg);
        break;
      case kEphemeralLimit:
        VMM_TRY(take_once(kOptions[index].name, options.throwaway.limit));
        break;
      case kEphemeralEncrypt:
        options.throwaway.is_encrypted = true;
        break;
      case kCommit:
        options.throwaway.is_committed = true;
        break;
      case kTimeout: {
        VMM_ASSIGN_OR_RETURN(options.timeout, read_time(kOptions[index].name, optarg));
        break;
      }
      case kShutdownTimeout: {
        VMM_ASSIGN_OR_RETURN(options.shutdown_timeout, read_time(kOptions[index].name, optarg));
        break;
      }
      case kDaemonize:
        options.is_daemon = true;
        break;
      case kPidFile:
        VMM_TRY(take_once(kOptions[index].name, options.pid_path));
        break;
      case kQuick:
        VMM_TRY(read_quick_option(kOptions[index].name, optarg, options));
        break;
      case kNetBoot:
        VMM_TRY(read_quick_option("netboot", optarg == nullptr ? "" : optarg, options));
        break;
      case kExitPort:
        VMM_TRY(read_quick_option("exit-port", "", options));
        break;
      case kPrint:
        VMM_TRY(take_command(kOptions[index].name, Command::kPrintDomain, command));
        break;
      case kCheck:
        VMM_TRY(take_command(kOptions[index].name, Command::kCheck, command));
        break;
      case kStrict:
        options.is_strict = true;
        break;
      case kMessageFormat:
        VMM_TRY(read_message_format(optarg, options));
        break;
      case kPrintExample:
        read_example(argument_count, arguments, options);
        VMM_TRY(take_command(kOptions[index].name, Command::kPrintExample, command));
        break;
      case kSet:
        if (std::string_view(optarg) == "help") {
          VMM_TRY(take_command("set help", Command::kPrintSettings, command));
        }
        options.settings.emplace_back(optarg);
        break;
      case kShowVersion:
        return Command::kVersion;
      case 'h':
        return is_run ? Command::kRunHelp : Command::kHelp;
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
  if (command == Command::kPrintSettings) {
    return command;
  }
  if (is_run) {
    VMM_TRY(finish_quick_options(options, command == Command::kRun));
  } else if (options.domain_path.empty() && command != Command::kPrintExample) {
    return fail_configuration("--domain FILE is missing: the domain file to run; see --help");
  } else if (command == Command::kPrintDomain) {
    VMM_TRY(check_printed(options));
  }
  return command;
}

}  // namespace vmm::cli
