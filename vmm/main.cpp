// vmm's beginning and its end.
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/journal.h"
#include "vmm/base/log.h"
#include "vmm/base/unique_fd.h"
#include "vmm/cli/check_guest.h"
#include "vmm/cli/clone_command.h"
#include "vmm/cli/examples.h"
#include "vmm/cli/exit_status.h"
#include "vmm/cli/messages.h"
#include "vmm/cli/options.h"
#include "vmm/cli/quick_options.h"
#include "vmm/cli/read_guest.h"
#include "vmm/cli/run_guest.h"
#include "vmm/control/ctl.h"
#include "vmm/control/list.h"
#include "vmm/version.h"

namespace vmm {
namespace {

int report(const Error& error, const cli::GuestReport& guest = {}) {
  // Not through the log alone, which --log may have sent elsewhere: the person who typed the command must see
  // it. What is wrong with a domain file is a line for each.
  cli::tell_error(error);
  log::to_file(error.message());
  return cli::exit_status_of(error, guest);
}

// Else a disk image could be opened as descriptor 2, and get our error messages.
void open_missing_standard_descriptors() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  static_cast<void>(UniqueFd(fd));
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

int print(const std::string& text) {
  const bool is_printed = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  return is_printed
             ? cli::kGuestEnded
             : report(Error(fmt::format("cannot write to the standard output: {}", errno_text(errno))));
}

bool reads_domain(cli::Command command) {
  switch (command) {
    case cli::Command::kRun:
    case cli::Command::kCheck:
    case cli::Command::kPrintDomain:
      return true;
    case cli::Command::kPrintExample:
    case cli::Command::kPrintSettings:
    case cli::Command::kHelp:
    case cli::Command::kRunHelp:
    case cli::Command::kVersion:
      break;
  }
  return false;
}

std::string current_folder() {
  std::error_code error;  // it may have been removed
  const std::filesystem::path folder = std::filesystem::current_path(error);
  return error ? "/" : folder.native();
}

// What a command prints that runs no guest.
Result<std::string> text_of(cli::Command command, const cli::Options& options) {
  switch (command) {
    case cli::Command::kHelp:
      return cli::kHelpText;
    case cli::Command::kRunHelp:
      return cli::kRunHelpText;
    case cli::Command::kPrintDomain:
      return cli::printed_domain(options);
    case cli::Command::kPrintExample:
      return cli::example_domain(options.example, current_folder());
    case cli::Command::kPrintSettings:
      return cli::printed_settings();
    case cli::Command::kVersion:
    case cli::Command::kCheck:
    case cli::Command::kRun:
      break;
  }
  return "vmm " VMM_VERSION "\n";
}

int main_with(int argument_count, char** arguments) {
  make_threads_small();
  if (is_journal_stream(STDERR_FILENO)) {
    if (auto journal = Journal::open()) {
      log::open_journal(*std::move(journal));
    }
  }
  if (argument_count > 1 && std::string_view(arguments[1]) == "ctl") {
    const auto done = control::run_ctl(std::vector<std::string>(arguments + 2, arguments + argument_count));
    return done ? cli::kGuestEnded : report(done.error());
  }
  if (argument_count > 1 && std::string_view(arguments[1]) == "list") {
    const auto text = control::run_list(std::vector<std::string>(arguments + 2, arguments + argument_count));
    return text ? print(*text) : report(text.error());
  }
  if (argument_count > 1 && std::string_view(arguments[1]) == "clone") {
    const auto text = cli::run_clone(argument_count - 1, arguments + 1);
    return text ? print(*text) : report(text.error());
  }
  cli::Options options;
  const auto command = cli::read_command_line(argument_count, arguments, options);
  cli::begin_messages(options.message_format, "");
  if (!command) {
    return report(command.error());
  }
  if (reads_domain(*command)) {
    if (const Status found = cli::find_guest(options); !found) {
      return report(found.error());
    }
    cli::begin_messages(options.message_format, options.domain_path, options.settings);
  }
  if (*command == cli::Command::kCheck) {
    return cli::check_guest(options);
  }
  if (*command != cli::Command::kRun) {
    const auto text = text_of(*command, options);
    return text ? print(*text) : report(text.error());
  }
  cli::GuestReport guest;
  const auto end = cli::run_guest(options, guest);
  return end ? cli::exit_status_of(*end, guest) : report(end.error(), guest);
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
    return vmm::cli::kHostFailed;
  }
}
