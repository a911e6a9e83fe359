#include "block/tool/interrupt.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>

#include "block/new_file.h"

namespace vmm::block::tool {
namespace {

constexpr std::array kInterrupts = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

void tell(std::string_view text) { static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size())); }

// Only what a handler may call (signal-safety(7)). The program ends as if there were no handler, so that who
// started it sees why.
void end_cleanly(int number) {
  const int saved_errno = errno;
  const bool had_files = remove_unfinished_files();
  // A bar may stand in the line.
  tell(::isatty(STDERR_FILENO) == 1 ? "\r\033[K" : "");
  tell(had_files ? "vmm-img: interrupted; the new file was not made\n" : "vmm-img: interrupted\n");
  static_cast<void>(std::signal(number, SIG_DFL));
  static_cast<void>(std::raise(number));  // comes when the handler has returned
  errno = saved_errno;
}

}  // namespace

void clean_up_when_interrupted() {
  // Whoever reads what is printed may stop; the work goes on.
  static_cast<void>(std::signal(SIGPIPE, SIG_IGN));
  // A limit of file sizes (setrlimit(2)) is then an error of the write, or resize, that goes beyond.
  static_cast<void>(std::signal(SIGXFSZ, SIG_IGN));
  for (const int number : kInterrupts) {
    struct sigaction action{};
    if (::sigaction(number, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) {
      continue;
    }
    action = {};
    action.sa_handler = end_cleanly;
    // No second one on top of it.
    for (const int other : kInterrupts) {
      ::sigaddset(&action.sa_mask, other);
    }
    ::sigaction(number, &action, nullptr);
  }
}

}  // namespace vmm::block::tool
