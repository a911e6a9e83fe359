#include "block/tool/progress.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <string_view>

namespace vmm::block::tool {
namespace {

// More often would be slower, and tell nobody more.
constexpr double kStepPercent = 1;
constexpr double kAllPercent = 100;

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

}  // namespace

Progress::Progress(bool is_shown, bool is_quiet) : is_shown_(is_shown && !is_quiet) {
  if (!is_shown && !is_quiet) {
    bar_.emplace();
  }
  answer_from_now_on();
  if (is_shown_) {
    print(0);
  }
}

Progress::~Progress() {
  if (is_shown_) {
    static_cast<void>(std::printf("\n"));
  }
}

void Progress::show(uint64_t done, uint64_t all) {
  const double percent = percent_of(done, all);
  hundredths = static_cast<uint32_t>(percent * 100);
  if (is_shown_ && (percent >= shown_percent_ + kStepPercent || (done == all && percent > shown_percent_))) {
    shown_percent_ = percent;
    print(percent);
  }
  if (bar_) {
    bar_->show(done, all);
  }
}

}  // namespace vmm::block::tool
