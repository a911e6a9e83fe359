// What only a process with a controlling terminal of its own can show: each test runs a child in a new
// session.
#include "vmm/console/terminal_guard.h"

#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include <csignal>

#include "tests/unit/console/console_fixture.h"

namespace vmm {
namespace {

constexpr int kChildFailed = 99;

// Runs `body` in a child whose controlling terminal is `terminal`, and returns the child's process id.
pid_t run_on_terminal(int terminal, const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setsid();
    ::ioctl(terminal, TIOCSCTTY, 0);
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) {
      std::signal(signal, SIG_DFL);  // not the sanitizers' business here
    }
    std::exit(body());
  }
  return child;
}

int wait_for(pid_t child) {
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

class OnATerminal : public testing::Test {
 protected:
  OnATerminal() { EXPECT_EQ(::tcgetattr(terminal(), &before_), 0); }

  int terminal() const { return pair_.second.get(); }
  int user() const { return pair_.first.get(); }

  bool is_raw() const {
    termios now{};
    EXPECT_EQ(::tcgetattr(terminal(), &now), 0);
    return (now.c_lflag & (ICANON | ECHO | ISIG)) == 0;
  }
  bool is_as_before() const {
    termios now{};
    EXPECT_EQ(::tcgetattr(terminal(), &now), 0);
    return now.c_lflag == before_.c_lflag && now.c_iflag == before_.c_iflag &&
           now.c_oflag == before_.c_oflag && now.c_cflag == before_.c_cflag && !is_nonblocking(terminal());
  }

  // Ends as `end` says, after the terminal was raw. True where it was.
  bool was_raw_until(const std::function<int()>& end) {
    const FdPair told = make_pipe();
    const pid_t child = run_on_terminal(terminal(), [&] {
      auto guard = TerminalGuard::create();
      if (!guard || !(*guard)->make_raw(terminal()) || !(*guard)->make_nonblocking(terminal())) {
        return kChildFailed;
      }
      const char is_raw_now = is_raw() && is_nonblocking(terminal()) ? 'y' : 'n';
      [[maybe_unused]] const auto written = ::write(told.second.get(), &is_raw_now, 1);
      return end();
    });
    status_ = wait_for(child);
    return read_available(told.first.get()) == "y";
  }

  FdPair pair_ = make_terminal();
  termios before_{};
  int status_ = 0;
};

TEST_F(OnATerminal, ItIsRestoredByTheDestructor) {
  EXPECT_TRUE(was_raw_until([] { return 0; }));
  EXPECT_EQ(status_, 0);
  EXPECT_TRUE(is_as_before());
}

TEST_F(OnATerminal, ItIsRestoredByExit) {
  EXPECT_TRUE(was_raw_until([]() -> int { std::exit(3); }));
  EXPECT_EQ(WEXITSTATUS(status_), 3);
  EXPECT_TRUE(is_as_before());
}

TEST_F(OnATerminal, ItIsRestoredByTheSignalsThatEndAProcess) {
  for (const int signal :
       {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGUSR1, SIGALRM, SIGXFSZ, SIGRTMAX}) {
    EXPECT_TRUE(was_raw_until([signal] {
      ::raise(signal);
      return kChildFailed;
    }));
    EXPECT_TRUE(WIFSIGNALED(status_)) << signal;
    EXPECT_EQ(WTERMSIG(status_), signal);
    EXPECT_TRUE(is_as_before()) << signal;
  }
}

TEST_F(OnATerminal, ItIsRestoredByARealFault) {
  EXPECT_TRUE(was_raw_until([] {
    __builtin_trap();
    return kChildFailed;
  }));
  EXPECT_TRUE(WIFSIGNALED(status_));
  EXPECT_TRUE(is_as_before());
}

TEST_F(OnATerminal, ItIsRestoredByAbort) {
  EXPECT_TRUE(was_raw_until([]() -> int { std::abort(); }));
  EXPECT_EQ(WTERMSIG(status_), SIGABRT);
  EXPECT_TRUE(is_as_before());
}

// The whole console, on a terminal that is its own: the child is the guest, and echoes what it receives.
class EchoGuest final : public ByteReceiver {
 public:
  size_t receive(std::span<const std::byte> bytes) override {
    console->write(bytes);
    return bytes.size();
  }
  void receive_break() override { console->write(as_bytes("<break>\n")); }
  void output_room() override {}
  Console* console = nullptr;
};

class DeafGuest final : public ByteReceiver {
 public:
  size_t receive(std::span<const std::byte> /*bytes*/) override { return 0; }
  void receive_break() override {}
  void output_room() override {}
};

class ConsoleOnATerminal : public OnATerminal {
 protected:
  // The child ends with 7 when it is asked to quit.
  pid_t start(bool is_deaf) {
    return run_on_terminal(terminal(), [&] {
      auto loop = EventLoop::create();
      bool is_quitting = false;
      auto console = open_stdio_console(**loop, [&] { is_quitting = true; }, terminal(), terminal());
      if (!console) {
        return kChildFailed;
      }
      EchoGuest echo;
      echo.console = console->get();
      DeafGuest deaf;
      if (is_deaf) {
        (*console)->connect(deaf);
      } else {
        (*console)->connect(echo);
      }
      (*console)->write(as_bytes("ready\n"));
      for (int turns = 0; turns < 2000 && !is_quitting; ++turns) {
        (*loop)->run_once(std::chrono::milliseconds(10));
      }
      (*console)->flush();
      return is_quitting ? 7 : kChildFailed;
    });
  }

  // Reads what the terminal shows until it ends with `end`.
  std::string read_until(std::string_view end) {
    std::string text;
    pollfd ready{.fd = user(), .events = POLLIN, .revents = 0};
    while (!text.ends_with(end) && ::poll(&ready, 1, 10'000) == 1) {
      const std::string more = read_available(user());
      if (more.empty()) {
        break;
      }
      text += more;
    }
    return text;
  }
};

TEST_F(ConsoleOnATerminal, KeysReachTheGuestAndCtrlAXQuits) {
  const pid_t child = start(false);
  EXPECT_EQ(read_until("ready\r\n"), "ready\r\n");
  EXPECT_TRUE(is_raw());
  EXPECT_FALSE(is_nonblocking(terminal()));
  type(user(), "\x03\x04z\n");  // Ctrl-C and Ctrl-D are the guest's
  EXPECT_EQ(read_until("z\r\n"), "\x03\x04z\r\n");
  type(user(), "\x01x");
  EXPECT_EQ(WEXITSTATUS(wait_for(child)), 7);
  EXPECT_TRUE(is_as_before());
}

TEST_F(ConsoleOnATerminal, TwiceCtrlASendsOneAndHIsAHelp) {
  const pid_t child = start(false);
  read_until("ready\r\n");
  type(user(), "\x01\x01\n");
  EXPECT_EQ(read_until("\r\n"), "\x01\r\n");
  type(user(), "\x01h");
  EXPECT_NE(read_until("send one Ctrl-A\r\r\n").find("Ctrl-A x       end vmm"), std::string::npos);
  type(user(),
       "\x01"
       "b");
  EXPECT_EQ(read_until("<break>\r\n"), "<break>\r\n");
  type(user(), "\x01x");
  EXPECT_EQ(WEXITSTATUS(wait_for(child)), 7);
}

TEST_F(ConsoleOnATerminal, CtrlAXQuitsThoughTheGuestReadsNothing) {
  const pid_t child = start(true);
  read_until("ready\r\n");
  const std::string keys(3000, 'k');
  for (int i = 0; i < 5; ++i) {
    type(user(), keys);  // more than any buffer of the console
  }
  type(user(), "\x01x");
  EXPECT_EQ(WEXITSTATUS(wait_for(child)), 7);
  EXPECT_TRUE(is_as_before());
}

}  // namespace
}  // namespace vmm
