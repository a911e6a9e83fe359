#include "vmm/cli/daemon.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include "vmm/cli/exit_status.h"

namespace vmm::cli {
namespace {

int status_of_ended(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      return kHostFailed;
    }
  }
  if (WIFEXITED(status)) {
    return WEXITSTATUS(status);
  }
  static_cast<void>(
      std::fprintf(stderr, "vmm: signal %d has ended vmm before the guest ran\n", WTERMSIG(status)));
  return kHostFailed;
}

// Until the other process is ready, or has ended.
[[noreturn]] void wait_as_caller(const UniqueFd& ready, pid_t child) {
  char byte = 0;
  ssize_t count = 0;
  do {
    count = ::read(ready.get(), &byte, 1);
  } while (count < 0 && errno == EINTR);
  const int status = count == 1 ? kGuestEnded : status_of_ended(child);
  static_cast<void>(std::fflush(stderr));
  ::_exit(status);  // what the other one has open is none of this one's
}

}  // namespace

Result<Daemon> Daemon::begin() {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail("--daemonize: cannot make a pipe: {}", errno_text(errno));
  }
  UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t caller = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) {
    return fail("--daemonize: cannot start a process: {}", errno_text(errno));
  }
  if (child > 0) {
    writing.reset();
    wait_as_caller(reading, child);
  }
  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != caller) {
    ::_exit(kHostFailed);  // it has given up already
  }
  return Daemon(std::move(writing));
}

void Daemon::ready() {
  if (!caller_) {
    return;
  }
  ::prctl(PR_SET_PDEATHSIG, 0);
  if (const UniqueFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC)); nothing) {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      ::dup2(nothing.get(), fd);
    }
  }
  const char byte = 1;
  [[maybe_unused]] const ssize_t written = ::write(caller_.get(), &byte, 1);
  caller_.reset();
}

}  // namespace vmm::cli
