#include "vmm/console/terminal_guard.h"

#include <fcntl.h>
#include <termios.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "vmm/base/check.h"
#include "vmm/base/unique_fd.h"

namespace vmm {
namespace {

// All of this is read by signal handlers: values first, then the flag that says that they are there.
struct SavedFlags {
  int fd = -1;
  int flags = 0;
};
struct Saved {
  std::atomic<bool> has_terminal{false};
  int terminal_fd = -1;
  termios settings{};
  std::atomic<size_t> flag_count{0};
  std::array<SavedFlags, 2> flags{};
};
Saved g_saved;
std::atomic<bool> g_is_in_use{false};

// Those whose default is not to end the process, or that nobody can handle.
constexpr bool ends_nothing(int number) {
  switch (number) {
    case SIGKILL:
    case SIGSTOP:
    case SIGCHLD:
    case SIGCONT:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
    case SIGURG:
    case SIGWINCH:
      return true;
    default:
      return false;
  }
}

constexpr bool is_crash(int number) {
  constexpr std::array kCrashes = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
  return std::ranges::find(kCrashes, number) != kCrashes.end();
}

// By number; with the real-time signals.
std::array<struct sigaction, _NSIG> g_former_actions;
std::array<bool, _NSIG> g_is_installed;

// Async-signal-safe.
void restore() {
  if (g_saved.has_terminal.exchange(false)) {
    // In the background, changing the terminal would stop the process.
    sigset_t stop{};
    sigset_t before{};
    sigemptyset(&stop);
    sigaddset(&stop, SIGTTOU);
    ::pthread_sigmask(SIG_BLOCK, &stop, &before);
    ::tcsetattr(g_saved.terminal_fd, TCSANOW, &g_saved.settings);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  for (size_t i = g_saved.flag_count.exchange(0); i > 0; --i) {
    ::fcntl(g_saved.flags[i - 1].fd, F_SETFL, g_saved.flags[i - 1].flags);
  }
}

extern "C" void restore_and_go_on(int number, siginfo_t* info, void* /*context*/) {
  const int error_number = errno;
  restore();
  ::sigaction(number, &g_former_actions[static_cast<size_t>(number)], nullptr);
  // A fault happens again when the handler returns; a signal that was sent must be sent again.
  if (info->si_code <= 0) {
    ::raise(number);
  }
  errno = error_number;
}

void install_handlers() {
  struct sigaction action{};
  action.sa_sigaction = restore_and_go_on;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (int number = 1; number < _NSIG; ++number) {
    const auto i = static_cast<size_t>(number);
    struct sigaction& former = g_former_actions[i];
    // The C library keeps two for itself, and says so.
    if (ends_nothing(number) || ::sigaction(number, nullptr, &former) != 0) {
      continue;
    }
    const bool is_default = (former.sa_flags & SA_SIGINFO) == 0 && former.sa_handler == SIG_DFL;
    g_is_installed[i] = is_crash(number) || is_default;
    if (g_is_installed[i]) {
      ::sigaction(number, &action, nullptr);
    }
  }
}

void remove_handlers() {
  for (int number = 1; number < _NSIG; ++number) {
    const auto i = static_cast<size_t>(number);
    struct sigaction present{};
    if (!g_is_installed[i] || ::sigaction(number, nullptr, &present) != 0) {
      continue;
    }
    const bool is_ours = (present.sa_flags & SA_SIGINFO) != 0 && present.sa_sigaction == restore_and_go_on;
    if (is_ours) {
      ::sigaction(number, &g_former_actions[i], nullptr);
    }
    g_is_installed[i] = false;
  }
}

}  // namespace

Result<std::unique_ptr<TerminalGuard>> TerminalGuard::create() {
  if (g_is_in_use.exchange(true)) {
    return fail_configuration("only one serial port can be on the standard input and output");
  }
  static const bool is_registered = std::atexit(restore) == 0;
  VMM_CHECK(is_registered, "atexit() has no room");
  install_handlers();
  return std::unique_ptr<TerminalGuard>(new TerminalGuard());
}

TerminalGuard::~TerminalGuard() {
  restore();
  remove_handlers();
  UniqueFd(g_saved.terminal_fd).reset();
  g_saved.terminal_fd = -1;
  g_is_in_use = false;
}

Status TerminalGuard::make_raw(int terminal_fd) {
  VMM_CHECK(!g_saved.has_terminal, "one terminal at a time");
  if (::tcgetattr(terminal_fd, &g_saved.settings) != 0) {
    return fail("cannot read the settings of the terminal: {}", errno_text(errno));
  }
  // Our own, in case somebody closes the standard input.
  g_saved.terminal_fd = ::fcntl(terminal_fd, F_DUPFD_CLOEXEC, 3);
  if (g_saved.terminal_fd < 0) {
    return fail("cannot duplicate the terminal's descriptor: {}", errno_text(errno));
  }
  termios raw = g_saved.settings;
  raw.c_iflag &= ~static_cast<tcflag_t>(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
  raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
  raw.c_cflag = (raw.c_cflag & ~static_cast<tcflag_t>(CSIZE | PARENB)) | CS8;
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  g_saved.has_terminal = true;
  if (::tcsetattr(terminal_fd, TCSANOW, &raw) != 0) {
    return fail("cannot put the terminal into raw mode: {}", errno_text(errno));
  }
  return {};
}

Status TerminalGuard::make_nonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) {
    return fail("cannot read the flags of a descriptor: {}", errno_text(errno));
  }
  if ((flags & O_NONBLOCK) != 0) {
    return {};
  }
  const size_t index = g_saved.flag_count;
  VMM_CHECK(index < g_saved.flags.size(), "too many descriptors");
  g_saved.flags[index] = {.fd = fd, .flags = flags};
  g_saved.flag_count = index + 1;
  if (::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return fail("cannot make a descriptor non-blocking: {}", errno_text(errno));
  }
  return {};
}

}  // namespace vmm
