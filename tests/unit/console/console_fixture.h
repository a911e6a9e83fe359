// What the tests of consoles share: a loop that turns until something is so, and host descriptors.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "tests/unit/fakes/fake_byte_stream.h"
#include "vmm/base/bytes.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/unique_fd.h"
#include "vmm/console/console.h"

namespace vmm {

struct FdPair {
  UniqueFd first;
  UniqueFd second;
};

inline FdPair make_pipe() {
  std::array<int, 2> fds{-1, -1};
  EXPECT_EQ(::pipe2(fds.data(), O_CLOEXEC), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

inline FdPair make_socketpair() {
  std::array<int, 2> fds{-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// first: the user's side; second: the terminal.
inline FdPair make_terminal() {
  int master = -1;
  int terminal = -1;
  EXPECT_EQ(::openpty(&master, &terminal, nullptr, nullptr, nullptr), 0);
  return {UniqueFd(master), UniqueFd(terminal)};
}

inline bool is_nonblocking(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0; }

// What can be read without waiting.
inline std::string read_available(int fd) {
  std::string text;
  std::array<char, 4096> bytes;
  pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
  while (::poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN) != 0) {
    const ssize_t count = ::read(fd, bytes.data(), bytes.size());
    if (count <= 0) {
      break;
    }
    text.append(bytes.data(), static_cast<size_t>(count));
  }
  return text;
}

inline void type(int fd, std::string_view text) {
  ASSERT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

class ConsoleFixture : public testing::Test {
 protected:
  ConsoleFixture() {
    std::signal(SIGPIPE, SIG_IGN);
    auto loop = EventLoop::create();
    EXPECT_TRUE(loop.has_value());
    loop_ = std::move(*loop);
    std::string name = (std::filesystem::temp_directory_path() / "vmm-console-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~ConsoleFixture() override {
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
  }
  ConsoleFixture(const ConsoleFixture&) = delete;
  ConsoleFixture& operator=(const ConsoleFixture&) = delete;

  // Turns the loop until `is_so`, at most ten seconds.
  bool turn_until(const std::function<bool()>& is_so) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!is_so()) {
      if (std::chrono::steady_clock::now() > end) {
        return false;
      }
      loop_->run_once(std::chrono::milliseconds(10));
    }
    return true;
  }

  // Turns the loop until it has nothing to do.
  void settle() {
    for (int i = 0; i < 20; ++i) {
      loop_->run_once(std::chrono::milliseconds(1));
    }
  }

  bool turn_until_read(int fd, std::string_view wanted) {
    return turn_until([&] {
      output_ += read_available(fd);
      return output_ == wanted;
    });
  }

  static size_t print(ByteSink& console, std::string_view text) { return console.write(as_bytes(text)); }

  std::string path(std::string_view name) const { return (folder_ / name).string(); }

  std::unique_ptr<EventLoop> loop_;
  std::filesystem::path folder_;
  FakeByteReceiver guest_;
  std::string output_;
};

}  // namespace vmm
