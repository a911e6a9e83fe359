#include "vmm/cli/messages.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "vmm/base/log.h"
#include "vmm/base/printable.h"

namespace vmm::cli {
namespace {

using domain::Diagnostic;
using domain::Severity;

// ECMA-48, 8.3.117: select graphic rendition.
constexpr std::string_view kPlain = "\x1b[0m";
constexpr std::string_view kBold = "\x1b[1m";
constexpr std::string_view kRed = "\x1b[1;31m";
constexpr std::string_view kMagenta = "\x1b[1;35m";
constexpr std::string_view kCyan = "\x1b[36m";

struct MessageState {
  MessageFormat format = MessageFormat::kText;
  std::string domain_file;
  std::vector<std::string> settings;  // as messages call them
};

MessageState& state() {
  static MessageState instance;
  return instance;
}

std::string_view name_of(Severity severity) {
  switch (severity) {
    case Severity::kNote:
      return "note";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      break;
  }
  return "error";
}

// As the log calls it; an error of the domain file is none of the log's.
std::string_view word_of(Severity severity) {
  switch (severity) {
    case Severity::kNote:
      return "info: ";
    case Severity::kWarning:
      return "warning: ";
    case Severity::kError:
      break;
  }
  return "";
}

log::Level level_of(Severity severity) {
  switch (severity) {
    case Severity::kNote:
      return log::Level::kInfo;
    case Severity::kWarning:
      return log::Level::kWarning;
    case Severity::kError:
      break;
  }
  return log::Level::kError;
}

struct LogLevel {
  std::string_view word;
  Severity severity;
};

LogLevel of_level(log::Level level) {
  switch (level) {
    case log::Level::kDebug:
      return {"debug: ", Severity::kNote};
    case log::Level::kInfo:
      return {"info: ", Severity::kNote};
    case log::Level::kWarning:
      return {"warning: ", Severity::kWarning};
    case log::Level::kError:
      return {"error: ", Severity::kError};
    case log::Level::kOff:
      break;
  }
  return {"", Severity::kNote};  // log::tell()
}

// https://no-color.org: a NO_COLOR that is not empty, whatever it is.
bool wants_colours() {
  const char* const unwanted = std::getenv("NO_COLOR");
  const char* const terminal = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) == 1 && (unwanted == nullptr || *unwanted == '\0') && terminal != nullptr &&
         std::string_view(terminal) != "dumb";
}

bool is_coloured() {
  static const bool kIsColoured = wants_colours();
  return kIsColoured;
}

// In one call, so that lines of several threads do not mix.
void put(std::string line) {
  line += '\n';
  static_cast<void>(std::fwrite(line.data(), 1, line.size(), stderr));
}

// The text in the colours of its parts.
std::string coloured(std::string_view word, const Diagnostic& diagnostic) {
  const std::string_view colour = diagnostic.severity == Severity::kError     ? kRed
                                  : diagnostic.severity == Severity::kWarning ? kMagenta
                                                                              : kBold;
  const auto painted = [](std::string_view text, std::string_view with) {
    return text.empty() ? std::string() : fmt::format("{}{}{}", with, text, kPlain);
  };
  const domain::MessageParts parts = domain::parts_of(diagnostic.text);
  const std::string line = domain::to_line_of_log(diagnostic);
  const std::string_view place = std::string_view(line).substr(0, line.size() - diagnostic.text.size());
  std::string result = painted(word, colour) + painted(place, kBold);
  if (!parts.element.empty()) {
    result += painted(parts.element, colour) + ": ";
  }
  result += parts.message;
  return parts.hint.empty() ? result : result + "; " + painted(parts.hint, kCyan);
}

// What is not the domain file's may name anything.
std::string text_line(std::string_view word, Diagnostic diagnostic, bool has_colours) {
  diagnostic.file = printable(diagnostic.file);
  diagnostic.text = printable_lines(diagnostic.text);
  return "vmm: " +
         (has_colours ? coloured(word, diagnostic) : std::string(word) + domain::to_line_of_log(diagnostic));
}

// Of a line, which may begin with the name of the domain file or of a setting.
Diagnostic diagnostic_of(Severity severity, std::string_view line) {
  for (const std::string& setting : state().settings) {
    if (Diagnostic found = domain::diagnostic_of(severity, line, setting); !found.file.empty()) {
      return found;
    }
  }
  return domain::diagnostic_of(severity, line, state().domain_file);
}

void tell_of_log(log::Level level, std::string_view text) {
  const auto [word, severity] = of_level(level);
  const Diagnostic diagnostic = diagnostic_of(severity, text);
  put(state().format == MessageFormat::kJson ? json_of_message(diagnostic)
                                             : text_line(word, diagnostic, is_coloured()));
}

}  // namespace

void begin_messages(MessageFormat format, std::string domain_file, std::span<const std::string> settings) {
  state() = {.format = format, .domain_file = std::move(domain_file), .settings = {}};
  for (const std::string& each : settings) {
    state().settings.push_back(domain::name_of_setting(each));
  }
  log::set_sink(tell_of_log);
}

void tell(const Diagnostic& told) {
  // What the host's check found may have its place in its text still.
  const Diagnostic diagnostic = told.file.empty() ? diagnostic_of(told.severity, told.text) : told;
  if (log::is_in_journal()) {
    return log::write(level_of(diagnostic.severity), log::Component::kVmm,
                      domain::to_line_of_log(diagnostic));
  }
  put(state().format == MessageFormat::kJson ? json_of_message(diagnostic)
                                             : text_of_message(diagnostic, is_coloured()));
}

void tell_error(const Error& error) {
  std::string_view rest = error.message();
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    tell(diagnostic_of(Severity::kError, line));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
}

std::string text_of_message(const Diagnostic& diagnostic, bool has_colours) {
  return text_line(word_of(diagnostic.severity), diagnostic, has_colours);
}

std::string json_of_message(const Diagnostic& diagnostic) {
  const domain::MessageParts parts = domain::parts_of(diagnostic.text);
  nlohmann::ordered_json object;
  object["severity"] = name_of(diagnostic.severity);
  object["file"] = diagnostic.file;
  object["line"] = diagnostic.line;
  object["element"] = parts.element;
  object["message"] = parts.message;
  object["hint"] = parts.hint;
  // Names of files are any bytes.
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace vmm::cli
