#include "vmm/control/ctl.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "vmm/base/printable.h"
#include "vmm/base/size.h"
#include "vmm/base/unix_socket.h"
#include "vmm/control/console_client.h"
#include "vmm/control/ctl_command.h"
#include "vmm/control/ctl_images.h"
#include "vmm/control/ctl_network.h"
#include "vmm/control/ctl_stats.h"
#include "vmm/control/ctl_throttle.h"
#include "vmm/control/guest_folder.h"
#include "vmm/control/output_option.h"
#include "vmm/control/qmp_client.h"

namespace vmm::control {
namespace {

using nlohmann::json;

constexpr const char* kHelpText = R"(Controls a running guest.
Usage: vmm ctl GUEST COMMAND [ARGUMENTS] [--output human|json]

GUEST is the name that its domain file has, or the path of its control socket (with a /).

  status                          what the guest does, its disks, discs, network interfaces and consoles
  stats [--watch [SECONDS]]       what its CPUs, memory, disks and network interfaces do, in a second; --watch goes
                                  on, every 2 s if it does not say otherwise, until Ctrl-C or the guest's end
  pause                           stop its CPUs, and its clock
  resume                          let it go on; where a disk waits for the host, try again at once
  eject [DRIVE] [--force]         take the disc out
  insert [DRIVE] FILE [--format raw|qcow2]
                                  put a disc into an empty drive
  change [DRIVE] FILE [--format raw|qcow2] [--force]
                                  put another disc into the drive
  boot-once DISK                  at its next reset, and only then, the guest boots from this disk or disc first
  ephemeral-limit SIZE|none       what throwaway disks may take on the host's disk, all together (as 500M, 20G)
  throttle DISK [--total-bytes-sec SIZE] [--read-iops-sec NUMBER] ...
                                  what the disk may do in a second; without options, what it may do now
  link [INTERFACE] up|down        plug in the cable of a network interface, or pull it out
  resize DISK SIZE                make the disk longer (20G, or +5G); the guest sees it at once
  snapshot DISK FILE [--mode existing]
                                  what the disk holds now stays as it is: the guest writes to a new overlay on it
  commit DISK [--top FILE] [--base FILE] [--speed SIZE]
                                  merge the overlay, or all from --top down, into what it stands on (--base)
  stream DISK [--base FILE] [--speed SIZE]
                                  take in what the disk's image stands on, so that it stands on nothing, or on --base
  backup DISK FILE [--format raw|qcow2] [--sync full|top] [--mode existing] [--speed SIZE]
                                  copy what the disk holds now to a new image
  follow JOB                      wait for the end of one of them, whose command was interrupted
  jobs                            the commits, streams and backups that are under way
  cancel JOB                      end one of them; the disk stays as it is
  console [CONSOLE] [--force]     attach to a console, until Ctrl-] is typed; --force takes it from who is attached
  shutdown                        press the power button
  reset                           press the reset button
  nmi                             press the NMI button: where a guest listens for it, it tells what it does
  kill                            end the guest at once

CONSOLE is serial0 for COM1 and so on, console0 for the first console of virtio (hvc0), or the alias that the
domain file gives it; if left out, the first. One person at a time is attached, beside where the domain file leads
it to.
INTERFACE is net0, net1 and so on, in the order of the domain file, or the alias that this gives it; it may be left
out where there is one.
DRIVE is the CD-ROM drive's name in the domain file (as hdc); it may be left out where there is one. A guest that
holds its disc locked is asked to let go of it, and has 10 s for that; --force takes the disc at once.
throttle knows total-, read- and write- limits of -bytes-sec and -iops-sec, each with -max and -max-length for
bursts, and --size-iops-sec, as virsh blkdeviotune; 0: none. What is said of bytes replaces all that was said of
bytes, and so with operations.
commit, stream and backup wait for their end; where they are interrupted the job goes on. A JOB has the name of its
disk. --mode existing: to an image that is there. --speed is in bytes a second.
--format: absent, what the domain file says of the drive; of a backup, qcow2. --output json is for programs. Behind -- all are
arguments, whatever they look like.
Exit status: 0 done, 1 not done (it is said why), 2 the command line is wrong.
)";

using Options = CtlOptions;
using Request = CtlRequest;
using Told = CtlTold;

constexpr std::chrono::seconds kTrayTime(10);
constexpr std::chrono::milliseconds kTrayPause(100);

Status end_printing() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return fail("cannot write to the standard output: {}", errno_text(errno));
  }
  return {};
}

Status print_lines(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    static_cast<void>(std::printf("%s\n", printable(line).c_str()));
  }
  return end_printing();
}

// What is no UTF-8 comes out with replacement characters.
Status print_json(const json& value) {
  static_cast<void>(std::printf("%s\n", value.dump(4, ' ', false, json::error_handler_t::replace).c_str()));
  return end_printing();
}

std::string disc_of(const json& drive) {
  const auto inserted = drive.find("inserted");
  return inserted == drive.end() || !inserted->is_object() ? std::string() : text_of(*inserted, "file");
}

// The CD-ROM drive of this name; where it is empty, the only one.
Result<json> find_drive(QmpClient& guest, const std::string& name) {
  VMM_ASSIGN_OR_RETURN(const json drives, drives_of(guest));
  std::vector<json> found;
  for (const json& drive : drives) {
    if (name.empty() ? flag_of(drive, "removable") : text_of(drive, "device") == name) {
      found.push_back(drive);
    }
  }
  if (found.empty()) {
    if (name.empty()) {
      return fail("the guest has no CD-ROM drive");
    }
    return fail("the guest has no disk '{}'", name);
  }
  if (found.size() > 1) {
    return fail_configuration("the guest has {} CD-ROM drives; name one of them", found.size());
  }
  if (!flag_of(found.front(), "removable")) {
    return fail("disk {} is no CD-ROM drive", name);
  }
  return found.front();
}

// Until the guest has let go of its disc: it opens the tray, or just locks it no more, as where somebody has
// looked at the disc for a moment.
Status wait_for_tray(QmpClient& guest, const std::string& name) {
  const auto deadline = std::chrono::steady_clock::now() + kTrayTime;
  do {
    std::this_thread::sleep_for(kTrayPause);
    VMM_ASSIGN_OR_RETURN(const json drive, find_drive(guest, name));
    if (!flag_of(drive, "tray_open") && !flag_of(drive, "locked")) {
      VMM_TRY(guest.run("blockdev-open-tray", {{"id", name}}));
      continue;
    }
    if (flag_of(drive, "tray_open")) {
      return {};
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return fail("the guest was asked for the disc in {}, and has not let go of it in {} s; --force takes it",
              name, kTrayTime.count());
}

Result<Told> status(const Request& request) {
  VMM_ASSIGN_OR_RETURN(const json name, request.guest.run("query-name", json::object()));
  VMM_ASSIGN_OR_RETURN(const json state, request.guest.run("query-status", json::object()));
  VMM_ASSIGN_OR_RETURN(const json drives, drives_of(request.guest));
  Told told{
      .value = {{"name", text_of(name, "name")}, {"status", text_of(state, "status")}, {"drives", drives}}};
  told.lines.push_back(fmt::format("{}: {}", text_of(name, "name"), text_of(state, "status")));
  for (const json& drive : drives) {
    const std::string disc = disc_of(drive);
    told.lines.push_back(fmt::format(
        "  {:<8} {:<7} {}{}{}", text_of(drive, "device"), flag_of(drive, "removable") ? "cdrom" : "disk",
        disc.empty() ? "(no disc)" : disc, flag_of(drive, "tray_open") ? " (the tray is open)" : "",
        flag_of(drive, "locked") ? " (locked by the guest)" : ""));
  }
  VMM_ASSIGN_OR_RETURN(const json interfaces, interfaces_of(request.guest));
  told.value["interfaces"] = json::array();
  for (const json& interface : interfaces) {
    told.lines.push_back(interface_line(interface));
    told.value["interfaces"].push_back(interface_value(interface));
  }
  if (const auto consoles = request.guest.run("query-chardev", json::object());
      consoles && consoles->is_array()) {
    told.value["consoles"] = *consoles;
    for (const json& console : *consoles) {
      told.lines.push_back(
          fmt::format("  {:<8} console {}", text_of(console, "label"), text_of(console, "filename")));
    }
  }
  if (const auto throwaway = request.guest.run("x-vmm-query-throwaway", json::object())) {
    told.value["throwaway"] = *throwaway;
    told.lines.push_back(
        fmt::format("  throwaway: {} written{}", size_text(number_of(*throwaway, "used")),
                    throwaway->contains("limit")
                        ? fmt::format(" of at most {}", size_text(number_of(*throwaway, "limit")))
                        : ""));
  }
  return told;
}

Result<Told> eject(const Request& request) {
  VMM_ASSIGN_OR_RETURN(
      const json drive,
      find_drive(request.guest, request.options.operands.empty() ? "" : request.options.operands.front()));
  const std::string name = text_of(drive, "device");
  VMM_TRY(request.guest.run("blockdev-open-tray", {{"id", name}, {"force", request.options.is_forced}}));
  VMM_ASSIGN_OR_RETURN(const json now, find_drive(request.guest, name));
  if (!flag_of(now, "tray_open")) {
    VMM_TRY(wait_for_tray(request.guest, name));
  }
  VMM_TRY(request.guest.run("blockdev-remove-medium", {{"id", name}}));
  return Told{.lines = {fmt::format("{}: no disc", name)}, .value = {{"device", name}}};
}

Result<Told> put_disc(const Request& request, bool is_over_another) {
  const std::string& file = request.options.operands.back();
  VMM_ASSIGN_OR_RETURN(
      const json drive,
      find_drive(request.guest, request.options.operands.size() > 1 ? request.options.operands[0] : ""));
  const std::string name = text_of(drive, "device");
  if (!is_over_another && !disc_of(drive).empty()) {
    return fail("{} holds {}; `change` puts another disc in its place", name, printable(disc_of(drive)));
  }
  std::error_code error;
  const std::filesystem::path path = std::filesystem::absolute(file, error);
  if (error) {
    return fail("{}: {}", file, error.message());
  }
  json arguments = {{"id", name}, {"filename", path.native()}, {"force", request.options.is_forced}};
  if (request.options.format) {
    arguments["format"] = *request.options.format;
  }
  auto changed = request.guest.run("blockdev-change-medium", arguments);
  if (!changed && flag_of(drive, "locked") && changed.error().message().find("locked") != std::string::npos) {
    VMM_TRY(wait_for_tray(request.guest, name));
    changed = request.guest.run("blockdev-change-medium", arguments);
  }
  VMM_TRY(changed);
  return Told{.lines = {fmt::format("{}: {}", name, path.native())},
              .value = {{"device", name}, {"file", path.native()}}};
}

Result<Told> insert(const Request& request) { return put_disc(request, false); }
Result<Told> change(const Request& request) { return put_disc(request, true); }

Result<Told> boot_once(const Request& request) {
  VMM_TRY(request.guest.run("x-vmm-boot-once", {{"device", request.options.operands.front()}}));
  return Told{};
}
Result<Told> set_throwaway_limit(const Request& request) {
  const std::string& size = request.options.operands.front();
  json arguments = json::object();
  if (size != "none") {
    VMM_ASSIGN_OR_RETURN(arguments["bytes"], parse_size(size));
  }
  VMM_TRY(request.guest.run("x-vmm-set-throwaway-limit", arguments));
  return Told{};
}
Result<Told> console(const Request& request) {
  if (request.options.output == OutputFormat::kJson) {
    return fail_configuration("vmm ctl console: is for people; leave out --output json");
  }
  json arguments = {{"force", request.options.is_forced}};
  if (!request.options.operands.empty()) {
    arguments["device"] = request.options.operands.front();
  }
  VMM_TRY(request.guest.run("x-vmm-console", arguments));
  const auto [socket, received] = request.guest.hand_over();
  const bool is_person = ::isatty(STDIN_FILENO) != 0 && ::isatty(STDERR_FILENO) != 0;
  if (is_person) {
    static_cast<void>(std::fputs("Attached; Ctrl-] leaves.\n", stderr));
  }
  VMM_ASSIGN_OR_RETURN(const ConsoleEnd end, run_console(socket, received));
  if (is_person) {
    static_cast<void>(std::fputs(end == ConsoleEnd::kLeft
                                     ? "\r\nLeft; the guest goes on.\n"
                                     : "\r\nThe guest has ended, or somebody else has taken its console.\n",
                                 stderr));
  }
  return Told{};
}
Result<Told> pause(const Request& request) {
  VMM_TRY(request.guest.run("stop", json::object()));
  return Told{};
}
Result<Told> resume(const Request& request) {
  VMM_TRY(request.guest.run("cont", json::object()));
  return Told{};
}
Result<Told> press_nmi(const Request& request) {
  VMM_TRY(request.guest.run("inject-nmi", json::object()));
  return Told{};
}
Result<Told> shutdown(const Request& request) {
  VMM_TRY(request.guest.run("system_powerdown", json::object()));
  return Told{};
}
Result<Told> reset(const Request& request) {
  VMM_TRY(request.guest.run("system_reset", json::object()));
  return Told{};
}
Result<Told> kill(const Request& request) {
  // Its name is free when its process has ended.
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, request.guest.peer_process(), 0)));
  VMM_TRY(request.guest.run("quit", json::object()));
  pollfd end{.fd = process.get(), .events = POLLIN, .revents = 0};
  constexpr int kEndMilliseconds = 10'000;
  if (process && ::poll(&end, 1, kEndMilliseconds) == 0) {
    return fail("the guest was told to end, and its process {} has not ended yet",
                request.guest.peer_process());
  }
  return Told{};
}

struct Command {
  std::string_view name;
  size_t fewest_operands;
  size_t most_operands;
  bool takes_force;
  bool takes_format;
  Result<Told> (*run)(const Request& request);
  std::vector<CtlOption> (*own_options)() = nullptr;
};
constexpr std::array kCommands = {
    Command{"status", 0, 0, false, false, status},
    Command{"eject", 0, 1, true, false, eject},
    Command{"insert", 1, 2, false, true, insert},
    Command{"change", 1, 2, true, true, change},
    Command{"boot-once", 1, 1, false, false, boot_once},
    Command{"console", 0, 1, true, false, console},
    Command{"pause", 0, 0, false, false, pause},
    Command{"resume", 0, 0, false, false, resume},
    Command{"nmi", 0, 0, false, false, press_nmi},
    Command{"shutdown", 0, 0, false, false, shutdown},
    Command{"reset", 0, 0, false, false, reset},
    Command{"kill", 0, 0, false, false, kill},
    Command{"ephemeral-limit", 1, 1, false, false, set_throwaway_limit},
    Command{"stats", 0, 0, false, false, tell_stats, stats_options},
    Command{"throttle", 1, 1, false, false, throttle, throttle_options},
    Command{"link", 1, 2, false, false, set_link_state},
    Command{"resize", 2, 2, false, false, resize},
    Command{"snapshot", 2, 2, false, false, snapshot, snapshot_options},
    Command{"commit", 1, 1, false, false, commit, commit_options},
    Command{"stream", 1, 1, false, false, stream, stream_options},
    Command{"backup", 2, 2, false, true, backup, backup_options},
    Command{"follow", 1, 1, false, false, follow_job},
    Command{"jobs", 0, 0, false, false, list_jobs},
    Command{"cancel", 1, 1, false, false, cancel_jobs},
};

bool is_number(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](char each) { return each >= '0' && each <= '9'; });
}

// As `--read-bytes-sec 10M` or `--read-bytes-sec=10M`. False: it is another argument.
Result<bool> take_own_option(const Command& command, std::span<const std::string> arguments, size_t& index,
                             Options& options) {
  const std::string& argument = arguments[index];
  const size_t equals = argument.find('=');
  const std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
  const std::vector<CtlOption> known =
      command.own_options == nullptr ? std::vector<CtlOption>() : command.own_options();
  const auto found = std::ranges::find(known, name, &CtlOption::name);
  if (found == known.end()) {
    return false;
  }
  const bool is_last = index + 1 == arguments.size();
  if (equals != std::string::npos) {
    options.values[name] = argument.substr(equals + 1);
  } else if (found->may_be_without_value && (is_last || !is_number(arguments[index + 1]))) {
    options.values[name];
  } else if (is_last) {
    return fail_configuration("vmm ctl {}: a value is missing behind {}; see vmm ctl --help", command.name,
                              argument);
  } else {
    options.values[name] = arguments[++index];
  }
  return true;
}

Result<Options> read_options(const Command& command, std::span<const std::string> arguments) {
  Options options;
  bool may_be_option = true;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!may_be_option || !argument.starts_with("--")) {
      options.operands.push_back(argument);
    } else if (argument == "--") {
      may_be_option = false;
    } else if (argument == "--force" && command.takes_force) {
      options.is_forced = true;
    } else if (argument == "--format" && command.takes_format) {
      const std::string format = i + 1 < arguments.size() ? arguments[++i] : "";
      if (format != "raw" && format != "qcow2") {
        return fail_configuration("--format {}: raw and qcow2 can be", format);
      }
      options.format = format;
    } else {
      VMM_ASSIGN_OR_RETURN(const bool is_own, take_own_option(command, arguments, i, options));
      VMM_ASSIGN_OR_RETURN(const bool is_taken,
                           is_own ? Result<bool>(true) : take_output_option(arguments, i, options.output));
      if (!is_taken) {
        return fail_configuration("vmm ctl {}: there is no option {}; see vmm ctl --help", command.name,
                                  argument);
      }
    }
  }
  const size_t count = options.operands.size();
  if (count < command.fewest_operands || count > command.most_operands) {
    return fail_configuration("vmm ctl {}: {} arguments are too {}; see vmm ctl --help", command.name, count,
                              count < command.fewest_operands ? "few" : "many");
  }
  if (std::ranges::find(options.operands, "") != options.operands.end()) {
    return fail_configuration("vmm ctl {}: an empty argument names nothing; see vmm ctl --help",
                              command.name);
  }
  return options;
}

Result<std::filesystem::path> find_socket(const std::string& guest) {
  if (guest.find('/') != std::string::npos) {
    return guest;
  }
  VMM_ASSIGN_OR_RETURN(std::filesystem::path path, control_socket_of(guest));
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return fail("no guest of the name '{}' runs (there is no {})", guest, path.native());
  }
  return path;
}

Result<QmpClient> connect(const std::string& guest) {
  VMM_ASSIGN_OR_RETURN(const std::filesystem::path path, find_socket(guest));
  auto client = QmpClient::connect(path);
  if (!client && is_left_over_socket(path)) {
    return fail("no guest of the name '{}' runs ({} is left from one whose vmm was killed)", guest,
                path.native());
  }
  return client;
}

bool asks_for_help(std::span<const std::string> arguments) {
  const auto options = std::ranges::subrange(arguments.begin(), std::ranges::find(arguments, "--"));
  return std::ranges::any_of(options,
                             [](const std::string& each) { return each == "--help" || each == "-h"; });
}

}  // namespace

std::string text_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool flag_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

uint64_t number_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

Result<json> drives_of(QmpClient& guest) {
  VMM_ASSIGN_OR_RETURN(json drives, guest.run("query-block", json::object()));
  if (!drives.is_array()) {
    return fail("the guest's vmm does not tell its disks");
  }
  return drives;
}

Status run_ctl(std::span<const std::string> arguments) {
  if (asks_for_help(arguments)) {
    static_cast<void>(std::fputs(kHelpText, stdout));
    return end_printing();
  }
  if (!arguments.empty() && arguments.front() == "--") {
    arguments = arguments.subspan(1);  // a guest's name may begin as an option does
  }
  if (arguments.size() < 2) {
    return fail_configuration("vmm ctl: a guest and a command are needed; see vmm ctl --help");
  }
  const auto* const command =
      std::ranges::find_if(kCommands, [&](const Command& each) { return each.name == arguments[1]; });
  if (command == kCommands.end()) {
    return fail_configuration("vmm ctl: there is no command '{}'; see vmm ctl --help", arguments[1]);
  }
  // The command line is judged before anybody is asked.
  VMM_ASSIGN_OR_RETURN(const Options options, read_options(*command, arguments.subspan(2)));
  VMM_ASSIGN_OR_RETURN(QmpClient guest, connect(arguments[0]));
  VMM_ASSIGN_OR_RETURN(const Told told, command->run({.guest = guest, .options = options}));
  if (told.is_printed) {
    return {};
  }
  return options.output == OutputFormat::kJson ? print_json(told.value) : print_lines(told.lines);
}

}  // namespace vmm::control
