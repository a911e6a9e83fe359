// The log: lines for the person who runs vmm, on stderr, in the file that --log names, or in systemd's
// journal. Each is of a level and of a component, which is that of the source that writes it
// (log_component.h). Any thread.
//
// What a guest can cause is logged through a RateLimit, so that it cannot fill a disk.
#pragma once

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "vmm/base/error.h"
#include "vmm/base/journal.h"
#include "vmm/base/log_component.h"

namespace vmm::log {

enum class Level : uint8_t { kDebug, kInfo, kWarning, kError, kOff };

// Of each component, the lowest level of which lines are written.
class Levels {
 public:
  explicit constexpr Levels(Level all = Level::kWarning) { levels_.fill(all); }
  constexpr void set(Component component, Level level) { levels_[static_cast<size_t>(component)] = level; }
  constexpr Level of(Component component) const { return levels_[static_cast<size_t>(component)]; }

 private:
  std::array<Level, kComponentCount> levels_{};
};

// Before these, lines of kWarning and above go to stderr. Main thread, before others start.
void set_levels(const Levels& levels);
void set_level(Level level);
// From now on lines go to that file, which is made if it is not there.
Status open(const std::string& path);
// The file is opened anew by its name, as where somebody has moved it away; any thread. Nothing to do: lines
// go elsewhere. An error leaves all as it is.
Status reopen();
// From now on lines go to the journal, with the guest's name as a field. Main thread; others may write
// meanwhile.
void open_journal(Journal journal);
// Main thread, before others start.
void set_guest(std::string name);
bool is_in_journal();
// Back to stderr.
void close();
// Lines for stderr are given to `sink` from now on, which puts them there. Main thread, before others start;
// the sink is called on any.
using Sink = void (*)(Level level, std::string_view text);
void set_sink(Sink sink);
// Where a file is the log: for what has been written to stderr by itself.
void to_file(std::string_view text, Level level = Level::kError);
// Whatever the level is, and wherever lines go, on stderr: what a person cannot do without. The sink gets it
// at kOff, a log file at `in_file`; the journal has it in place of stderr.
void tell(std::string_view text, Level in_file = Level::kError);

bool enabled(Level level, Component component);
void write(Level level, Component component, std::string_view text);

// A format string, and the component of the source in which it stands.
template <typename... Args>
struct Format {
  template <typename Text>
  consteval Format(const Text& text,
                   std::source_location where =
                       std::source_location::current())  // NOLINT(google-explicit-constructor): as fmt's own
      : string(text), component(component_of(where.file_name())) {}
  fmt::format_string<Args...> string;
  Component component;
};

template <typename... Args>
void write_formatted(Level level, const Format<Args...>& format, Args&&... args) {
  if (enabled(level, format.component)) {
    write(level, format.component, fmt::format(format.string, std::forward<Args>(args)...));
  }
}
template <typename... Args>
void debug(Format<std::type_identity_t<Args>...> format, Args&&... args) {
  write_formatted<Args...>(Level::kDebug, format, std::forward<Args>(args)...);
}
template <typename... Args>
void info(Format<std::type_identity_t<Args>...> format, Args&&... args) {
  write_formatted<Args...>(Level::kInfo, format, std::forward<Args>(args)...);
}
template <typename... Args>
void warning(Format<std::type_identity_t<Args>...> format, Args&&... args) {
  write_formatted<Args...>(Level::kWarning, format, std::forward<Args>(args)...);
}
template <typename... Args>
void error(Format<std::type_identity_t<Args>...> format, Args&&... args) {
  write_formatted<Args...>(Level::kError, format, std::forward<Args>(args)...);
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
