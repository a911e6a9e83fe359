#include "block/tool/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

#include "vmm/base/size.h"

namespace vmm::block::tool {
namespace {

// More often would be slower, and tell nobody more.
constexpr double kStepPercent = 1;
constexpr double kAllPercent = 100;
constexpr size_t kBarColumns = 24;
// What is over by then needs no bar.
constexpr std::chrono::milliseconds kFirstDrawing{500};
constexpr std::chrono::milliseconds kNextDrawing{100};

// For the signal's handler. In 1/100 of a percent.
std::atomic<uint32_t> hundredths = 0;

void print(double percent) {
  static_cast<void>(std::printf("    (%3.2f/100%%)\r", percent));
  static_cast<void>(std::fflush(stdout));
}

// Only what a handler may call (signal-safety(7)).
void answer_signal(int /*number*/) {
  const int saved_errno = errno;
  const uint32_t value = hundredths;
  std::array<char, 48> text{};
  std::string_view start = "    (";
  char* at = start.copy(text.data(), start.size()) + text.data();
  at = std::to_chars(at, at + 8, value / 100).ptr;
  *at++ = '.';
  *at++ = static_cast<char>('0' + value / 10 % 10);
  *at++ = static_cast<char>('0' + value % 10);
  std::string_view end = "/100%)\n";
  at += end.copy(at, end.size());
  static_cast<void>(!::write(STDERR_FILENO, text.data(), static_cast<size_t>(at - text.data())));
  errno = saved_errno;
}

void answer_from_now_on() {
  hundredths = 0;
  struct sigaction action{};
  action.sa_handler = answer_signal;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGUSR1, &action, nullptr);
}

double percent_of(uint64_t done, uint64_t all) {
  return all == 0 ? kAllPercent : static_cast<double>(done) * kAllPercent / static_cast<double>(all);
}

std::string time_text(double seconds) {
  constexpr double kLong = 360'000;
  if (seconds >= kLong) {
    return "a long time";
  }
  const auto whole = static_cast<unsigned long>(std::lround(seconds));
  return whole >= 3600 ? fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
                       : fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

Progress::Progress(bool is_shown, bool is_quiet)
    : is_shown_(is_shown && !is_quiet),
      has_bar_(!is_shown && !is_quiet && ::isatty(STDERR_FILENO) == 1),
      begin_(Clock::now()),
      next_drawing_(begin_ + kFirstDrawing) {
  answer_from_now_on();
  if (is_shown_) {
    print(0);
  }
}

Progress::~Progress() {
  if (is_shown_) {
    static_cast<void>(std::printf("\n"));
  }
  if (is_drawn_) {
    static_cast<void>(std::fputs("\r\033[K", stderr));
  }
}

void Progress::show(uint64_t done, uint64_t all) {
  const double percent = percent_of(done, all);
  hundredths = static_cast<uint32_t>(percent * 100);
  if (is_shown_ && (percent >= shown_percent_ + kStepPercent || (done == all && percent > shown_percent_))) {
    shown_percent_ = percent;
    print(percent);
  }
  if (has_bar_) {
    draw(done, all);
  }
}

void Progress::draw(uint64_t done, uint64_t all) {
  const auto now = Clock::now();
  if (now < next_drawing_) {
    return;
  }
  next_drawing_ = now + kNextDrawing;
  is_drawn_ = true;
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  const double rate = static_cast<double>(done) / seconds;
  const auto columns = static_cast<size_t>(percent_of(done, all) * kBarColumns / kAllPercent);
  const std::string left =
      done == 0 ? "" : ", " + time_text(static_cast<double>(all - done) / rate) + " left";
  const std::string text =
      fmt::format("\r[{:<{}}] {:3.0f}% of {}, {}/s{}\033[K", std::string(columns, '#'), kBarColumns,
                  percent_of(done, all), size_text(all), size_text(static_cast<uint64_t>(rate)), left);
  static_cast<void>(std::fputs(text.c_str(), stderr));
}

}  // namespace vmm::block::tool
