#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/console/console.h"
#include "vmm/console/escape_filter.h"
#include "vmm/console/stream_console.h"
#include "vmm/console/terminal_guard.h"

namespace vmm {
namespace {

constexpr std::string_view kHelp =
    "\r\n"
    "Ctrl-A x       end vmm\r\n"
    "Ctrl-A b       send a break (Linux: the magic SysRq key)\r\n"
    "Ctrl-A h       this help\r\n"
    "Ctrl-A Ctrl-A  send one Ctrl-A\r\n";

// A process in the background is stopped when it reads from its controlling terminal or changes it. Others
// know no foreground (ENOTTY).
bool is_usable_terminal(int fd) {
  if (::isatty(fd) == 0) {
    return false;
  }
  const pid_t foreground = ::tcgetpgrp(fd);
  return foreground == ::getpgrp() || (foreground < 0 && errno == ENOTTY);
}

class StdioConsole final : public StreamConsole {
 public:
  StdioConsole(EventLoop& loop, std::unique_ptr<TerminalGuard> guard, std::function<void()> on_quit)
      : StreamConsole(loop, "the console on the standard output"),
        guard_(std::move(guard)),
        on_quit_(std::move(on_quit)) {}

  Status open(int input_fd, int output_fd) {
    VMM_TRY(start());
    std::optional<StreamEnd> input;
    is_terminal_ = is_usable_terminal(input_fd);
    if (is_terminal_ || ::isatty(input_fd) == 0) {
      VMM_ASSIGN_OR_RETURN(input, StreamEnd::of_shared(input_fd, Direction::kInput, *guard_));
    } else {
      log::warning(
          "vmm is in the background of its terminal: the guest's console has no input, and fg does not bring "
          "it; start vmm in the foreground, or give the port another type than 'stdio'");
    }
    VMM_ASSIGN_OR_RETURN(auto output, StreamEnd::of_shared(output_fd, Direction::kOutput, *guard_));
    if (is_terminal_) {
      VMM_TRY(guard_->make_raw(input_fd));
    }
    attach(std::move(input), std::move(output));
    return {};
  }

  std::string host_end() const override { return "stdio"; }

 private:
  void handle_input(std::span<const std::byte> bytes) override {
    if (!is_terminal_) {
      pass_input(bytes);
      return;
    }
    bool is_quit = false;
    for (const std::byte& byte : bytes) {
      switch (filter_.feed(byte)) {
        case EscapeFilter::Action::kPass:
          pass_input(std::span(&byte, 1));
          break;
        case EscapeFilter::Action::kNothing:
          break;
        case EscapeFilter::Action::kQuit:
          is_quit = true;
          break;
        case EscapeFilter::Action::kHelp:
          write(as_bytes(kHelp));
          break;
        case EscapeFilter::Action::kBreak:
          if (receiver() != nullptr) {
            receiver()->receive_break();
          }
          break;
      }
    }
    if (is_quit && on_quit_) {
      on_quit_();
    }
  }

  void handle_end_of_output() override {
    log::warning("the standard output takes no more; the guest goes on without a console");
  }

  // Ctrl-A x must be seen even if the guest does not read.
  bool reads_on() const override { return is_terminal_; }

  const std::unique_ptr<TerminalGuard> guard_;
  const std::function<void()> on_quit_;
  bool is_terminal_ = false;
  EscapeFilter filter_;
};

}  // namespace

Result<std::unique_ptr<Console>> open_stdio_console(EventLoop& loop, std::function<void()> on_quit,
                                                    int input_fd, int output_fd) {
  VMM_ASSIGN_OR_RETURN(auto guard, TerminalGuard::create());
  auto console = std::make_unique<StdioConsole>(loop, std::move(guard), std::move(on_quit));
  VMM_TRY(console->open(input_fd, output_fd));
  return console;
}

}  // namespace vmm
