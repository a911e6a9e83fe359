#include "vmm/control/console_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <optional>

#include "vmm/console/terminal_guard.h"

namespace vmm::control {
namespace {

constexpr char kLeave = 0x1d;  // Ctrl-], as virsh and telnet have it
constexpr size_t kPieceBytes = 4096;

bool is_to_be_tried_again(int error_number) { return error_number == EAGAIN || error_number == EINTR; }

Status print_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count >= 0) {
      bytes.remove_prefix(static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return fail("cannot write to the standard output: {}", errno_text(errno));
    }
  }
  return {};
}

class ConsoleClient {
 public:
  ConsoleClient(const UniqueFd& console, int input_fd, int output_fd, bool is_terminal)
      : console_(console), input_fd_(input_fd), output_fd_(output_fd), is_terminal_(is_terminal) {}

  Result<ConsoleEnd> run() {
    while (!end_) {
      // What is typed waits until the guest has taken what was typed before.
      std::array<pollfd, 2> fds = {
          pollfd{.fd = console_.get(),
                 .events = static_cast<short>(typed_.empty() ? POLLIN : POLLIN | POLLOUT),
                 .revents = 0},
          pollfd{.fd = has_input_ && typed_.empty() ? input_fd_ : -1, .events = POLLIN, .revents = 0}};
      if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) {
        return fail("cannot wait for the console: {}", errno_text(errno));
      }
      if (fds[1].revents != 0) {
        read_input();
      }
      send_typed();
      if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
        VMM_TRY(show_output());
      }
    }
    return *end_;
  }

 private:
  void read_input() {
    std::array<char, kPieceBytes> bytes{};
    const ssize_t count = ::read(input_fd_, bytes.data(), bytes.size());
    if (count < 0 && is_to_be_tried_again(errno)) {
      return;
    }
    if (count <= 0) {
      has_input_ = false;
      if (is_terminal_) {
        end_ = ConsoleEnd::kLeft;  // it was hung up
      }
      return;
    }
    typed_.assign(bytes.data(), static_cast<size_t>(count));
    if (const size_t leave = is_terminal_ ? typed_.find(kLeave) : std::string::npos;
        leave != std::string::npos) {
      typed_.resize(leave);
      send_typed();
      end_ = ConsoleEnd::kLeft;
    }
  }

  void send_typed() {
    if (typed_.empty()) {
      return;
    }
    const ssize_t count = ::send(console_.get(), typed_.data(), typed_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      typed_.erase(0, static_cast<size_t>(count));
    } else if (!is_to_be_tried_again(errno)) {
      typed_.clear();  // the other side is gone, as reading shows
    }
  }

  Status show_output() {
    std::array<char, kPieceBytes> bytes{};
    const ssize_t count = ::recv(console_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count < 0 && is_to_be_tried_again(errno)) {
      return {};
    }
    if (count <= 0) {
      end_ = ConsoleEnd::kClosed;
      return {};
    }
    return print_all(output_fd_, std::string_view(bytes.data(), static_cast<size_t>(count)));
  }

  const UniqueFd& console_;
  const int input_fd_;
  const int output_fd_;
  const bool is_terminal_;
  bool has_input_ = true;
  std::string typed_;
  std::optional<ConsoleEnd> end_;
};

}  // namespace

Result<ConsoleEnd> run_console(const UniqueFd& console, std::string_view received, int input_fd,
                               int output_fd) {
  const bool is_terminal = ::isatty(input_fd) != 0;
  std::unique_ptr<TerminalGuard> guard;
  if (is_terminal) {
    VMM_ASSIGN_OR_RETURN(guard, TerminalGuard::create());
    VMM_TRY(guard->make_raw(input_fd));
  }
  VMM_TRY(print_all(output_fd, received));
  return ConsoleClient(console, input_fd, output_fd, is_terminal).run();
}

}  // namespace vmm::control
