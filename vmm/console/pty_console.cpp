#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <termios.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <utility>

#include "vmm/console/console.h"
#include "vmm/console/stream_console.h"

namespace vmm {
namespace {

constexpr std::chrono::milliseconds kLookAgain(500);

Result<UniqueFd> duplicate(int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy) {
    return fail("cannot duplicate a pseudo-terminal: {}", errno_text(errno));
  }
  return copy;
}

// While nobody has the other end open, the master is hung up; that somebody opens it is no event of the
// master, but inotify tells.
class PtyConsole final : public StreamConsole {
 public:
  explicit PtyConsole(EventLoop& loop) : StreamConsole(loop, "the console on a pseudo-terminal") {}

  Result<std::string> open() {
    VMM_TRY(start());
    master_ = UniqueFd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    if (!master_ || ::grantpt(master_.get()) != 0 || ::unlockpt(master_.get()) != 0) {
      return fail("cannot make a pseudo-terminal: {}", errno_text(errno));
    }
    std::array<char, 128> name{};
    if (const int error = ::ptsname_r(master_.get(), name.data(), name.size()); error != 0) {
      return fail("cannot tell the name of a pseudo-terminal: {}", errno_text(error));
    }
    path_ = name.data();
    VMM_TRY(make_raw(path_));
    VMM_TRY(watch_for_clients(path_));
    return path_;
  }

  std::string host_end() const override { return "pty:" + path_; }

 private:
  // Opening and closing the other end also leaves it hung up, as it is whenever nobody is there.
  static Status make_raw(const std::string& path) {
    const UniqueFd terminal(::open(path.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    termios settings{};
    if (!terminal || ::tcgetattr(terminal.get(), &settings) != 0) {
      return fail("cannot open the pseudo-terminal {}: {}", path, errno_text(errno));
    }
    ::cfmakeraw(&settings);
    if (::tcsetattr(terminal.get(), TCSANOW, &settings) != 0) {
      return fail("cannot set up the pseudo-terminal {}: {}", path, errno_text(errno));
    }
    return {};
  }

  Status watch_for_clients(const std::string& path) {
    inotify_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (inotify_ && ::inotify_add_watch(inotify_.get(), path.c_str(), IN_OPEN) >= 0) {
      VMM_ASSIGN_OR_RETURN(inotify_watch_, loop().watch(inotify_.get(), EPOLLIN, [this](uint32_t) {
        std::array<std::byte, 4096> events{};
        [[maybe_unused]] const auto size = ::read(inotify_.get(), events.data(), events.size());
        look_for_client();
      }));
      return {};
    }
    // A user has few inotify instances. Then look from time to time.
    VMM_ASSIGN_OR_RETURN(look_timer_, loop().make_timer([this] { look_for_client(); }));
    is_looking_by_timer_ = true;
    look_timer_.arm(kLookAgain);
    return {};
  }

  void look_for_client() {
    if (is_attached()) {
      return;
    }
    pollfd state{.fd = master_.get(), .events = 0, .revents = 0};
    const bool is_hung_up = ::poll(&state, 1, 0) == 1 && (state.revents & POLLHUP) != 0;
    if (!is_hung_up) {
      attach_client();
    } else if (is_looking_by_timer_) {
      look_timer_.arm(kLookAgain);
    }
  }

  void attach_client() {
    auto input = duplicate(master_.get());
    auto output = duplicate(master_.get());
    if (input && output) {
      attach(StreamEnd(std::move(*input)), StreamEnd(std::move(*output)));
    }
  }

  void handle_end_of_input() override {
    detach();
    look_for_client();  // the next one may be there already
  }
  void handle_end_of_output() override { handle_end_of_input(); }

  std::string path_;  // of the other end
  UniqueFd master_;
  UniqueFd inotify_;
  EventLoop::Watch inotify_watch_;
  EventLoop::Timer look_timer_;
  bool is_looking_by_timer_ = false;
};

}  // namespace

Result<std::unique_ptr<Console>> open_pty_console(EventLoop& loop,
                                                  const std::function<void(const std::string&)>& on_path) {
  auto console = std::make_unique<PtyConsole>(loop);
  VMM_ASSIGN_OR_RETURN(const std::string path, console->open());
  if (on_path) {
    on_path(path);
  }
  return console;
}

}  // namespace vmm
