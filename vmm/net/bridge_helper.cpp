#include "vmm/net/bridge_helper.h"

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
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

#include "vmm/base/printable.h"

namespace vmm::net {
namespace {

constexpr const char* kHelperPaths[] = {"/usr/lib/qemu/qemu-bridge-helper",
                                        "/usr/libexec/qemu-bridge-helper"};
constexpr int kSocketOfHelper = 3;
constexpr std::chrono::seconds kMostTime(10);
constexpr size_t kMostSaid = 1000;

struct Pipes {
  UniqueFd socket, socket_of_helper;
  UniqueFd errors, errors_of_helper;
};

Result<Pipes> make_pipes() {
  std::array<int, 2> sockets{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return fail("cannot make a pair of sockets: {}", errno_text(errno));
  }
  Pipes pipes{.socket = UniqueFd(sockets[0]), .socket_of_helper = UniqueFd(sockets[1])};
  std::array<int, 2> errors{};
  if (::pipe2(errors.data(), O_CLOEXEC) != 0) {
    return fail("cannot make a pipe: {}", errno_text(errno));
  }
  pipes.errors = UniqueFd(errors[0]);
  pipes.errors_of_helper = UniqueFd(errors[1]);
  return pipes;
}

class SpawnOptions {
 public:
  explicit SpawnOptions(const Pipes& pipes) {
    ::posix_spawn_file_actions_init(&files_);
    ::posix_spawn_file_actions_addopen(&files_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&files_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_adddup2(&files_, pipes.errors_of_helper.get(), STDERR_FILENO);
    ::posix_spawn_file_actions_adddup2(&files_, pipes.socket_of_helper.get(), kSocketOfHelper);
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

  Result<pid_t> spawn(const std::string& program, const std::string& bridge) const {
    std::string name = program;
    std::string bridge_word = "--br=" + bridge;
    std::string socket_word = fmt::format("--fd={}", kSocketOfHelper);
    std::string header_word = "--use-vnet";
    std::array<char*, 5> words = {name.data(), header_word.data(), socket_word.data(), bridge_word.data(),
                                  nullptr};
    pid_t process = 0;
    const int error = ::posix_spawn(&process, name.c_str(), &files_, &attributes_, words.data(), environ);
    if (error != 0) {
      return fail("{}: cannot be run: {}", program, errno_text(error));
    }
    return process;
  }

 private:
  posix_spawn_file_actions_t files_{};
  posix_spawnattr_t attributes_{};
};

// What it says, until it ends. False: it has not ended in its time.
bool wait_for_end(const UniqueFd& process, const UniqueFd& errors, std::string& said) {
  const auto end = std::chrono::steady_clock::now() + kMostTime;
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

UniqueFd received_from(const UniqueFd& socket) {
  char byte = 0;
  iovec part{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(socket.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0) {
    return {};
  }
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int))) {
    return {};
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd(fd);
}

}  // namespace

std::string find_bridge_helper() {
  for (const char* const path : kHelperPaths) {
    if (::access(path, X_OK) == 0) {
      return path;
    }
  }
  return {};
}

Result<UniqueFd> tap_from_bridge_helper(const std::string& program, const std::string& bridge) {
  VMM_ASSIGN_OR_RETURN(Pipes pipes, make_pipes());
  VMM_ASSIGN_OR_RETURN(const pid_t number, SpawnOptions(pipes).spawn(program, bridge));
  pipes.socket_of_helper.reset();
  pipes.errors_of_helper.reset();
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, number, 0)));
  std::string said;
  if (!process || !wait_for_end(process, pipes.errors, said)) {
    ::kill(number, SIGKILL);
    return fail("{}: has not ended in {} s", program, kMostTime.count());
  }
  int status = 0;
  ::waitpid(number, &status, 0);
  UniqueFd tap = received_from(pipes.socket);
  if (status != 0 || !tap) {
    const std::string line = said.substr(0, said.find('\n'));
    return fail("{}: {}", program, line.empty() ? "gave no tap" : printable(line));
  }
  if (::fcntl(tap.get(), F_SETFL, O_RDWR | O_NONBLOCK) != 0) {
    return fail("{}: its tap cannot be used: {}", program, errno_text(errno));
  }
  return tap;
}

}  // namespace vmm::net
