#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include <fstream>

#include "tests/unit/console/console_fixture.h"
#include "vmm/console/console.h"

namespace vmm {
namespace {

class StdioConsole : public ConsoleFixture {
 protected:
  void open(int input_fd, int output_fd) {
    auto console = open_stdio_console(*loop_, [this] { ++quits_; }, input_fd, output_fd);
    ASSERT_TRUE(console.has_value()) << console.error().message();
    console_ = std::move(*console);
    console_->connect(guest_);
  }

  UniqueFd open_file(std::string_view name, std::string_view contents) const {
    std::ofstream(path(name)) << contents;
    return UniqueFd(::open(path(name).c_str(), O_RDWR | O_CLOEXEC));
  }

  int quits_ = 0;
  std::unique_ptr<Console> console_;
};

TEST_F(StdioConsole, PassesPipesAsTheyAreWithoutAnEscapeKey) {
  const FdPair input = make_pipe();
  const FdPair output = make_pipe();
  open(input.first.get(), output.second.get());
  type(input.second.get(), "\x01x\x03");
  EXPECT_TRUE(turn_until([&] { return guest_.text == "\x01x\x03"; }));
  EXPECT_EQ(quits_, 0);
  print(*console_, "to the pipe\n");
  EXPECT_TRUE(turn_until_read(output.first.get(), "to the pipe\n"));
}

TEST_F(StdioConsole, LeavesPipesAndSocketsBlockingForTheirOtherUsers) {
  const FdPair input = make_pipe();
  const FdPair output = make_socketpair();
  open(input.first.get(), output.second.get());
  EXPECT_FALSE(is_nonblocking(input.first.get()));
  EXPECT_FALSE(is_nonblocking(output.second.get()));
}

TEST_F(StdioConsole, ASocketThatNobodyReadsDoesNotBlockTheLoop) {
  const FdPair input = make_pipe();
  const FdPair output = make_socketpair();
  open(input.first.get(), output.second.get());
  for (int i = 0; i < 100; ++i) {
    print(*console_, std::string(10'000, 'x'));
    loop_->run_once(EventLoop::Duration(0));
  }
  EXPECT_GT(read_available(output.first.get()).size(), 10'000U);
}

TEST_F(StdioConsole, TheEndOfInputIsNotTheEndOfOutput) {
  FdPair input = make_pipe();
  const FdPair output = make_pipe();
  open(input.first.get(), output.second.get());
  type(input.second.get(), "last");
  input.second.reset();
  EXPECT_TRUE(turn_until([&] { return guest_.text == "last"; }));
  settle();
  print(*console_, "still here\n");
  EXPECT_TRUE(turn_until_read(output.first.get(), "still here\n"));
}

TEST_F(StdioConsole, ReadsARegularFileAsFastAsTheGuestTakesIt) {
  const std::string text(10'000, 'c');
  const UniqueFd input = open_file("commands", text);
  const FdPair output = make_pipe();
  guest_.room = 0;
  open(input.get(), output.second.get());
  settle();
  EXPECT_EQ(guest_.text, "");
  EXPECT_TRUE(turn_until([&] {
    guest_.room = 16;
    console_->input_room();
    return guest_.text.size() == text.size();
  }));
  EXPECT_TRUE(guest_.text == text);
}

TEST_F(StdioConsole, AnEndlessInputDoesNotKeepTheLoop) {
  const UniqueFd zeroes(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const FdPair output = make_pipe();
  open(zeroes.get(), output.second.get());
  print(*console_, "and yet it turns\n");
  EXPECT_TRUE(turn_until_read(output.first.get(), "and yet it turns\n"));
  EXPECT_GT(guest_.text.size(), 0U);
}

TEST_F(StdioConsole, WritesToARegularFileWhereItsOtherUsersAre) {
  const FdPair input = make_pipe();
  const UniqueFd output = open_file("out", "");
  type(output.get(), "before ");
  open(input.first.get(), output.get());
  print(*console_, "guest ");
  console_->flush();
  type(output.get(), "after");
  std::string text;
  std::getline(std::ifstream(path("out")), text);
  EXPECT_EQ(text, "before guest after");
}

TEST_F(StdioConsole, WorksWithTheNullDevice) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  open(null.get(), null.get());
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(print(*console_, std::string(10'000, 'x')), 10'000U);
    loop_->run_once(EventLoop::Duration(0));
  }
}

TEST_F(StdioConsole, WorksWithClosedDescriptors) {
  open(-1, -1);
  EXPECT_EQ(print(*console_, "nobody"), 6U);
}

TEST_F(StdioConsole, ThereIsOnlyOne) {
  const FdPair pipe = make_pipe();
  open(pipe.first.get(), pipe.second.get());
  const auto second = open_stdio_console(*loop_, [] {}, pipe.first.get(), pipe.second.get());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind(), ErrorKind::kConfiguration);
  console_.reset();
  open(pipe.first.get(), pipe.second.get());
}

bool is_raw(int terminal) {
  termios settings{};
  return ::tcgetattr(terminal, &settings) == 0 && (settings.c_lflag & (ICANON | ECHO)) == 0;
}

TEST_F(StdioConsole, ATerminalWithoutJobControlIsReadAndRestored) {
  const FdPair terminal = make_terminal();
  open(terminal.second.get(), terminal.second.get());
  EXPECT_TRUE(is_raw(terminal.second.get()));
  type(terminal.first.get(), "typed\x03\x01x");
  EXPECT_TRUE(turn_until([&] { return quits_ == 1; }));
  EXPECT_EQ(guest_.text, "typed\x03");
  print(*console_, "output\n");
  EXPECT_TRUE(turn_until_read(terminal.first.get(), "output\r\n"));
  console_.reset();
  EXPECT_FALSE(is_raw(terminal.second.get()));
}

// Nothing may stop us there.
TEST_F(StdioConsole, InTheBackgroundOfATerminalThereIsOutputOnly) {
  const FdPair terminal = make_terminal();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // The foreground is this session's leader, and we are not.
    ::setsid();
    ::ioctl(terminal.second.get(), TIOCSCTTY, 0);
    const pid_t background = ::fork();
    if (background == 0) {
      ::setpgid(0, 0);
      // Its own: an epoll descriptor is the same after fork(2).
      const auto loop = EventLoop::create();
      auto console = open_stdio_console(**loop, [] {}, terminal.second.get(), terminal.second.get());
      const bool is_left_alone = console.has_value() && !is_raw(terminal.second.get());
      print(**console, "output\n");
      (*console)->flush();
      ::_exit(is_left_alone ? 0 : 1);
    }
    int status = -1;
    ::waitpid(background, &status, WUNTRACED);
    ::kill(background, SIGKILL);
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
  }
  EXPECT_TRUE(turn_until_read(terminal.first.get(), "output\r\n"));
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace vmm
