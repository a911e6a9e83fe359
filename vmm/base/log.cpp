#include "vmm/base/log.h"

#include <fcntl.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "vmm/base/output_file.h"
#include "vmm/base/printable.h"

namespace vmm::log {
namespace {

constexpr int64_t kNanosecondsBetweenLines = 5'000'000'000;

std::atomic<Level> g_level{Level::kWarning};
std::atomic<bool> g_has_file{false};
std::atomic<Sink> g_sink{nullptr};

std::shared_ptr<spdlog::logger> stderr_logger() {
  auto made = std::make_shared<spdlog::logger>("vmm", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  made->set_pattern("vmm: %l: %v");
  made->set_level(spdlog::level::trace);
  return made;
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

}  // namespace

void set_level(Level level) { g_level = level; }

Status open(const std::string& path) {
  // By ourselves first: the library makes folders too, and waits for a pipe's reader.
  VMM_ASSIGN_OR_RETURN(const UniqueFd file,
                       open_output(path, O_APPEND | O_CREAT, 0666, "the log file " + path));
  try {
    auto made =
        std::make_shared<spdlog::logger>("vmm", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l: %v");
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::debug);
    logger() = std::move(made);
    g_has_file = true;
  } catch (const spdlog::spdlog_ex& e) {
    return fail("cannot open the log file {}: {}", path, e.what());
  }
  return {};
}

void close() {
  logger() = stderr_logger();
  g_has_file = false;
}

void set_sink(Sink sink) { g_sink = sink; }

void to_file(std::string_view text) {
  if (g_has_file && enabled(Level::kError)) {
    write(Level::kError, text);
  }
}

void tell(std::string_view text) {
  if (const Sink sink = g_sink.load(std::memory_order_relaxed); sink != nullptr) {
    sink(Level::kOff, text);
  } else {
    const std::string line = fmt::format("vmm: {}\n", printable_lines(text));
    static_cast<void>(std::fwrite(line.data(), 1, line.size(), stderr));
  }
  to_file(text);
}

bool enabled(Level level) { return level >= g_level.load(std::memory_order_relaxed); }

void write(Level level, std::string_view text) {
  const Sink sink = g_sink.load(std::memory_order_relaxed);
  if (sink != nullptr && !g_has_file) {
    return sink(level, text);
  }
  const std::string line = printable_lines(text);
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
