// The log: lines for the person who runs vmm, on stderr (or the file that --log names). Any thread.
//
// What a guest can cause is logged through a RateLimit, so that it cannot fill a disk.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "vmm/base/error.h"

namespace vmm::log {

enum class Level : uint8_t { kDebug, kInfo, kWarning, kError, kOff };

// Before these, lines of kWarning and above go to stderr. Main thread, before others start.
void set_level(Level level);
// From now on lines go to that file, which is made if it is not there.
Status open(const std::string& path);
// Back to stderr.
void close();
// Lines for stderr are given to `sink` from now on, which puts them there. Main thread, before others start;
// the sink is called on any.
using Sink = void (*)(Level level, std::string_view text);
void set_sink(Sink sink);
// At level kError, unless stderr is the log: for what has been written there by itself.
void to_file(std::string_view text);
// Whatever the level is, and wherever lines go, on stderr: what a person cannot do without. The sink gets it
// at kOff, a log file at kError.
void tell(std::string_view text);

bool enabled(Level level);
void write(Level level, std::string_view text);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kDebug)) {
    write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
  }
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kInfo)) {
    write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
  }
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kWarning)) {
    write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
  }
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kError)) {
    write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
  }
}

// Lets through a burst of 10 lines and then one line in 5 seconds. Any thread.
//   static/member RateLimit limit_;  if (limit_.allows()) log::warning(…);
class RateLimit {
 public:
  bool allows();

 private:
  std::atomic<uint32_t> burst_left_{10};
  std::atomic<int64_t> next_ns_{0};
};

}  // namespace vmm::log
