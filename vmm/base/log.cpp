#include "vmm/base/log.h"

#include <fcntl.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "vmm/base/output_file.h"
#include "vmm/base/printable.h"

namespace vmm::log {
namespace {

constexpr int64_t kNanosecondsBetweenLines = 5'000'000'000;

enum class Target : uint8_t { kStderr, kFile, kJournal };

struct LowestLevel {
  std::atomic<Level> value{Level::kWarning};
};
constinit std::array<LowestLevel, kComponentCount> g_levels;

std::atomic<Target> g_target{Target::kStderr};
std::atomic<Sink> g_sink{nullptr};

// Constant while other threads run.
std::string& guest_name() {
  static std::string name;
  return name;
}
std::optional<Journal>& journal() {
  static std::optional<Journal> instance;
  return instance;
}

// One write(2) a line, which a file on a full disk or a pipe's reader that is behind loses.
class FileSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  FileSink(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  static Result<UniqueFd> open(const std::string& path) {
    return open_output(path, O_APPEND | O_CREAT, 0666, "the log file " + path);
  }

  Status reopen() {
    VMM_ASSIGN_OR_RETURN(const UniqueFd anew, open(path_));
    if (::dup3(anew.get(), fd_.get(), O_CLOEXEC) < 0) {
      return fail("cannot open the log file {} anew: {}", path_, errno_text(errno));
    }
    return {};
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    [[maybe_unused]] const ssize_t written = ::write(fd_.get(), line.data(), line.size());
  }
  void flush_() override {}

 private:
  const std::string path_;
  const UniqueFd fd_;
};

std::shared_ptr<FileSink>& file_sink() {
  static std::shared_ptr<FileSink> instance;
  return instance;
}

std::shared_ptr<spdlog::logger> make_logger(std::shared_ptr<spdlog::sinks::sink> sink, const char* pattern) {
  auto made = std::make_shared<spdlog::logger>("vmm", std::move(sink));
  made->set_pattern(pattern);
  made->set_level(spdlog::level::trace);
  return made;
}

std::shared_ptr<spdlog::logger> stderr_logger() {
  return make_logger(std::make_shared<spdlog::sinks::stderr_sink_mt>(), "vmm: %l: %v");
}

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance = stderr_logger();
  return instance;
}

spdlog::level::level_enum spdlog_level(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
    case Level::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

// syslog(3). kOff is what tell() tells.
std::string_view priority_of(Level level) {
  switch (level) {
    case Level::kDebug:
      return "7";
    case Level::kInfo:
      return "6";
    case Level::kWarning:
      return "4";
    case Level::kError:
      return "3";
    case Level::kOff:
      break;
  }
  return "5";
}

void send_to_journal(Level level, Component component, std::string_view text) {
  const std::string message = printable_lines(text);
  const std::array fields = {JournalField{"MESSAGE", message}, JournalField{"PRIORITY", priority_of(level)},
                             JournalField{"SYSLOG_IDENTIFIER", "vmm"},
                             JournalField{"VMM_COMPONENT", name_of(component)},
                             JournalField{"VMM_GUEST", guest_name()}};
  journal()->send(std::span(fields).first(guest_name().empty() ? fields.size() - 1 : fields.size()));
}

}  // namespace

void set_levels(const Levels& wanted) {
  for (size_t i = 0; i < kComponentCount; ++i) {
    g_levels[i].value = wanted.of(static_cast<Component>(i));
  }
}

void set_level(Level level) { set_levels(Levels(level)); }

Status open(const std::string& path) {
  VMM_ASSIGN_OR_RETURN(UniqueFd file, FileSink::open(path));
  auto sink = std::make_shared<FileSink>(path, std::move(file));
  logger() = make_logger(sink, "%Y-%m-%dT%H:%M:%S.%e %l %v");
  file_sink() = std::move(sink);
  g_target = Target::kFile;
  return {};
}

Status reopen() { return g_target == Target::kFile ? file_sink()->reopen() : Status(); }

void open_journal(Journal opened) {
  journal().emplace(std::move(opened));
  g_target = Target::kJournal;
}

void set_guest(std::string name) { guest_name() = std::move(name); }

bool is_in_journal() { return g_target.load(std::memory_order_acquire) == Target::kJournal; }

void close() {
  logger() = stderr_logger();
  g_target = Target::kStderr;
  file_sink().reset();
  journal().reset();
}

void set_sink(Sink sink) { g_sink = sink; }

void to_file(std::string_view text, Level level) {
  if (g_target == Target::kFile && enabled(level, Component::kVmm)) {
    write(level, Component::kVmm, text);
  }
}

void tell(std::string_view text, Level in_file) {
  if (is_in_journal()) {
    return send_to_journal(Level::kOff, Component::kVmm, text);
  }
  if (const Sink sink = g_sink.load(std::memory_order_relaxed); sink != nullptr) {
    sink(Level::kOff, text);
  } else {
    const std::string line = fmt::format("vmm: {}\n", printable_lines(text));
    static_cast<void>(std::fwrite(line.data(), 1, line.size(), stderr));
  }
  to_file(text, in_file);
}

bool enabled(Level level, Component component) {
  return level >= g_levels[static_cast<size_t>(component)].value.load(std::memory_order_relaxed);
}

void write(Level level, Component component, std::string_view text) {
  const Target target = g_target.load(std::memory_order_acquire);
  if (target == Target::kJournal) {
    return send_to_journal(level, component, text);
  }
  const Sink sink = g_sink.load(std::memory_order_relaxed);
  if (sink != nullptr && target == Target::kStderr) {
    return sink(level, text);
  }
  std::string line = printable_lines(text);
  if (target == Target::kFile) {
    line.insert(0, fmt::format("[{}]: ", name_of(component)));
  }
  logger()->log(spdlog_level(level), spdlog::string_view_t(line));
}

bool RateLimit::allows() {
  if (burst_left_.load(std::memory_order_relaxed) > 0 &&
      burst_left_.fetch_sub(1, std::memory_order_relaxed) - 1 < 10) {
    return true;
  }
  burst_left_.store(0, std::memory_order_relaxed);
  const int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                          std::chrono::steady_clock::now().time_since_epoch())
                          .count();
  int64_t next = next_ns_.load(std::memory_order_relaxed);
  return now >= next && next_ns_.compare_exchange_strong(next, now + kNanosecondsBetweenLines);
}

}  // namespace vmm::log
