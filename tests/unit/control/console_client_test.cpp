#include "vmm/control/console_client.h"

#include <gtest/gtest.h>

#include <termios.h>

#include <thread>

#include "tests/unit/console/console_fixture.h"

namespace vmm::control {
namespace {

// A person at a terminal, and a guest at the other side of a socket.
class AttachedPerson : public testing::Test {
 protected:
  AttachedPerson() {
    for (const int fd : {sockets_.first.get(), sockets_.second.get()}) {
      ::fcntl(fd, F_SETFL, O_NONBLOCK);
    }
  }

  void begin(std::string_view received = "") {
    thread_ = std::thread([this, received] {
      end_ = run_console(sockets_.first, received, terminal_.second.get(), output_.second.get());
      output_.second.reset();
    });
  }
  void wait_for_end() {
    thread_.join();
    ASSERT_TRUE(end_.has_value()) << end_.error().message();
  }
  static std::string read(int fd, size_t bytes) {
    std::string text;
    std::array<char, 4096> piece{};
    while (text.size() < bytes) {
      pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, 10'000) != 1) {
        break;
      }
      const ssize_t count = ::read(fd, piece.data(), piece.size());
      if (count <= 0) {
        break;
      }
      text.append(piece.data(), static_cast<size_t>(count));
    }
    return text;
  }
  bool is_raw() const {
    termios settings{};
    return ::tcgetattr(terminal_.second.get(), &settings) == 0 && (settings.c_lflag & ECHO) == 0;
  }

  FdPair sockets_ = make_socketpair();  // first: the client's
  FdPair terminal_ = make_terminal();
  FdPair output_ = make_pipe();
  std::thread thread_;
  Result<ConsoleEnd> end_ = ConsoleEnd::kClosed;
};

TEST_F(AttachedPerson, TypesAndReadsAndLeaves) {
  begin("early ");
  type(sockets_.second.get(), "login: ");
  EXPECT_EQ(read(output_.first.get(), 13), "early login: ");
  EXPECT_TRUE(is_raw());
  type(terminal_.first.get(), "root\r\x03");  // Ctrl-C is the guest's
  EXPECT_EQ(read(sockets_.second.get(), 6), "root\r\x03");
  type(terminal_.first.get(), "last\x1dnot this");
  wait_for_end();
  EXPECT_EQ(*end_, ConsoleEnd::kLeft);
  EXPECT_EQ(read(sockets_.second.get(), 4), "last");
  EXPECT_FALSE(is_raw());
}

TEST_F(AttachedPerson, IsToldOfTheEndOfTheGuest) {
  begin();
  type(sockets_.second.get(), "bye");
  sockets_.second.reset();
  wait_for_end();
  EXPECT_EQ(*end_, ConsoleEnd::kClosed);
  EXPECT_EQ(read(output_.first.get(), 3), "bye");
  EXPECT_FALSE(is_raw());
}

TEST_F(AttachedPerson, WhereInputIsNoTerminalItsEndIsNotTheEnd) {
  FdPair input = make_pipe();
  terminal_.second = std::move(input.first);
  begin();
  type(input.second.get(), "\x1d all of it");
  input.second.reset();
  EXPECT_EQ(read(sockets_.second.get(), 11), "\x1d all of it");
  type(sockets_.second.get(), "goes on");
  EXPECT_EQ(read(output_.first.get(), 7), "goes on");
  sockets_.second.reset();
  wait_for_end();
  EXPECT_EQ(*end_, ConsoleEnd::kClosed);
}

}  // namespace
}  // namespace vmm::control
