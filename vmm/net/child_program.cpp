#include "vmm/net/child_program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

namespace vmm::net {
namespace {

class SpawnOptions {
 public:
  SpawnOptions(const UniqueFd& given, const UniqueFd& errors) {
    ::posix_spawn_file_actions_init(&files_);
    ::posix_spawn_file_actions_addopen(&files_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&files_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_adddup2(&files_, errors.get(), STDERR_FILENO);
    ::posix_spawn_file_actions_adddup2(&files_, given.get(), kGivenDescriptor);
    // vmm blocks and ignores some that the program may want.
    ::posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    sigset_t all;
    sigfillset(&all);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnOptions() {
    ::posix_spawnattr_destroy(&attributes_);
    ::posix_spawn_file_actions_destroy(&files_);
  }
  SpawnOptions(const SpawnOptions&) = delete;
  SpawnOptions& operator=(const SpawnOptions&) = delete;

  Result<pid_t> spawn(std::vector<std::string> words) const {
    std::vector<char*> pointers;
    pointers.reserve(words.size() + 1);
    for (std::string& word : words) {
      pointers.push_back(word.data());
    }
    pointers.push_back(nullptr);
    pid_t process = 0;
    const int error =
        ::posix_spawn(&process, pointers.front(), &files_, &attributes_, pointers.data(), environ);
    if (error != 0) {
      return fail("{}: cannot be run: {}", words.front(), errno_text(error));
    }
    return process;
  }

 private:
  posix_spawn_file_actions_t files_{};
  posix_spawnattr_t attributes_{};
};

// What it says, until it ends. False: it has not ended in its time.
bool wait_for_end(const UniqueFd& process, const UniqueFd& errors, std::chrono::seconds most_time,
                  std::string& said) {
  const auto end = std::chrono::steady_clock::now() + most_time;
  std::array<pollfd, 2> waits{{{.fd = process.get(), .events = POLLIN, .revents = 0},
                               {.fd = errors.get(), .events = POLLIN, .revents = 0}}};
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0 ||
        (::poll(waits.data(), waits.size(), static_cast<int>(left.count())) < 0 && errno != EINTR)) {
      return false;
    }
    std::array<char, 512> bytes{};
    const ssize_t count =
        waits[1].revents != 0 ? ::read(errors.get(), bytes.data(), bytes.size()) : ssize_t{0};
    if (count > 0) {
      said.append(bytes.data(), std::min(static_cast<size_t>(count), kMostSaid - said.size()));
      continue;
    }
    if (waits[1].revents != 0) {
      waits[1].fd = -1;  // its end
    }
    if (waits[0].revents != 0) {
      return true;
    }
  }
}

}  // namespace

Result<std::pair<UniqueFd, UniqueFd>> make_socket_pair() {
  std::array<int, 2> sockets{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return fail("cannot make a pair of sockets: {}", errno_text(errno));
  }
  return std::pair(UniqueFd(sockets[0]), UniqueFd(sockets[1]));
}

Result<ProgramEnd> run_program(const std::vector<std::string>& words, const UniqueFd& given,
                               std::chrono::seconds most_time) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
    return fail("cannot make a pipe: {}", errno_text(errno));
  }
  const UniqueFd errors(pipe[0]);
  UniqueFd errors_of_program(pipe[1]);
  VMM_ASSIGN_OR_RETURN(const pid_t number, SpawnOptions(given, errors_of_program).spawn(words));
  errors_of_program.reset();
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, number, 0)));
  ProgramEnd end;
  const bool has_ended = process && wait_for_end(process, errors, most_time, end.said);
  if (!has_ended) {
    ::kill(number, SIGKILL);
  }
  ::waitpid(number, &end.status, 0);
  if (!has_ended) {
    return fail("{}: has not ended in {} s", words.front(), most_time.count());
  }
  return end;
}

}  // namespace vmm::net
