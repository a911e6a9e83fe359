#include "vmm/base/progress_bar.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>

#include "vmm/base/size.h"

namespace vmm {
namespace {

constexpr double kWholePercent = 100;
constexpr size_t kBarColumns = 24;
// What is over by then needs no bar.
constexpr std::chrono::milliseconds kFirstDrawing{500};
constexpr std::chrono::milliseconds kNextDrawing{100};

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

ProgressBar::ProgressBar()
    : is_on_terminal_(::isatty(STDERR_FILENO) == 1),
      begin_(Clock::now()),
      next_drawing_(begin_ + kFirstDrawing) {}

ProgressBar::~ProgressBar() {
  if (is_drawn_) {
    static_cast<void>(std::fputs("\r\033[K", stderr));
  }
}

void ProgressBar::show(uint64_t done, uint64_t all) {
  const auto now = Clock::now();
  if (!is_on_terminal_ || now < next_drawing_) {
    return;
  }
  next_drawing_ = now + kNextDrawing;
  is_drawn_ = true;
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  const double rate = static_cast<double>(done) / seconds;
  const double percent =
      all == 0 ? kWholePercent : static_cast<double>(done) * kWholePercent / static_cast<double>(all);
  const auto columns = static_cast<size_t>(percent * kBarColumns / kWholePercent);
  const std::string left =
      done == 0 ? "" : ", " + time_text(static_cast<double>(all - done) / rate) + " left";
  const std::string text =
      fmt::format("\r[{:<{}}] {:3.0f}% of {}, {}/s{}\033[K", std::string(columns, '#'), kBarColumns, percent,
                  size_text(all), size_text(static_cast<uint64_t>(rate)), left);
  static_cast<void>(std::fputs(text.c_str(), stderr));
}

}  // namespace vmm
