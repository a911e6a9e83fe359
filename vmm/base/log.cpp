#include "vmm/base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <memory>

namespace vmm::log {
namespace {

constexpr int64_t kNanosecondsBetweenLines = 5'000'000'000;

std::atomic<Level> g_level{Level::kWarning};

std::shared_ptr<spdlog::logger>& logger() {
  // A terminal in raw mode needs the carriage return.
  static std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>("vmm", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("vmm: %l: %v");
    made->set_level(spdlog::level::trace);
    return made;
  }();
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

}  // namespace

Status open(Level level, const std::string& path) {
  g_level = level;
  if (path.empty()) {
    return {};
  }
  try {
    auto made =
        std::make_shared<spdlog::logger>("vmm", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l: %v");
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::debug);
    logger() = std::move(made);
  } catch (const spdlog::spdlog_ex& e) {
    return fail("cannot open the log file {}: {}", path, e.what());
  }
  return {};
}

bool enabled(Level level) { return level >= g_level.load(std::memory_order_relaxed); }

void write(Level level, std::string_view text) {
  logger()->log(spdlog_level(level), spdlog::string_view_t(text.data(), text.size()));
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
