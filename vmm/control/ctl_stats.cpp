#include "vmm/control/ctl_stats.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <system_error>
#include <thread>
#include <utility>

#include "vmm/base/printable.h"
#include "vmm/control/stats_report.h"

namespace vmm::control {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kOnce(1);
constexpr std::chrono::seconds kUsualPause(2);
constexpr int kLongestPauseSeconds = 24 * 3600;

Result<StatsSample> take_sample(QmpClient& guest) {
  StatsSample sample;
  VMM_ASSIGN_OR_RETURN(sample.name, guest.run("query-name", json::object()));
  VMM_ASSIGN_OR_RETURN(sample.status, guest.run("query-status", json::object()));
  VMM_ASSIGN_OR_RETURN(sample.stats, guest.run("x-vmm-query-stats", json::object()));
  VMM_ASSIGN_OR_RETURN(sample.disks, guest.run("query-blockstats", json::object()));
  return sample;
}

Result<std::chrono::seconds> pause_of(const std::string& text) {
  if (text.empty()) {
    return kUsualPause;
  }
  int seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || seconds < 1 ||
      seconds > kLongestPauseSeconds) {
    return fail_configuration("--watch {}: 1 to {} seconds can be", text, kLongestPauseSeconds);
  }
  return std::chrono::seconds(seconds);
}

// On a terminal the table stays where it is: the cursor goes to its beginning, and what is left of an older
// one is cleared (ECMA-48: CUP, EL, ED).
std::string text_for(const json& report, OutputFormat format, bool is_terminal) {
  if (format == OutputFormat::kJson) {
    return report.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  }
  if (!is_terminal) {
    return printable(stats_line(report)) + "\n";
  }
  std::string text = "\x1b[H";
  for (const std::string& line : stats_table(report)) {
    text += printable(line) + "\x1b[K\n";
  }
  return text + "\x1b[J";
}

Status print(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) == EOF || std::fflush(stdout) != 0) {
    return fail("cannot write to the standard output: {}", errno_text(errno));
  }
  return {};
}

// The guest's end is this one's, too.
Status watch(const CtlRequest& request, std::chrono::seconds pause) {
  const bool is_terminal = ::isatty(STDOUT_FILENO) != 0 && request.options.output == OutputFormat::kHuman;
  VMM_ASSIGN_OR_RETURN(StatsSample before, take_sample(request.guest));
  if (is_terminal) {
    VMM_TRY(print("\x1b[2J"));
  }
  for (bool is_first = true;; is_first = false) {
    std::this_thread::sleep_for(is_first ? kOnce : pause);
    auto now = take_sample(request.guest);
    if (!now) {
      return is_first ? Status(std::unexpected(now.error())) : Status();
    }
    VMM_TRY(print(text_for(stats_report(before, *now), request.options.output, is_terminal)));
    before = *std::move(now);
  }
}

}  // namespace

std::vector<CtlOption> stats_options() { return {{.name = "watch", .may_be_without_value = true}}; }

Result<CtlTold> tell_stats(const CtlRequest& request) {
  const auto watched = request.options.values.find("watch");
  if (watched != request.options.values.end()) {
    VMM_ASSIGN_OR_RETURN(const std::chrono::seconds pause, pause_of(watched->second));
    VMM_TRY(watch(request, pause));
    return CtlTold{.is_printed = true};
  }
  VMM_ASSIGN_OR_RETURN(const StatsSample before, take_sample(request.guest));
  std::this_thread::sleep_for(kOnce);
  VMM_ASSIGN_OR_RETURN(const StatsSample now, take_sample(request.guest));
  json report = stats_report(before, now);
  return CtlTold{.lines = stats_table(report), .value = std::move(report)};
}

}  // namespace vmm::control
