#include "vmm/domain/diagnostics.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "vmm/base/printable.h"

namespace vmm::domain {

namespace {

constexpr std::string_view kBehindPlace = ": ";
constexpr std::string_view kBeforeHint = "; ";

// Of an element's place and the ": " behind it, where text begins with one: "<disk>/<target bus='usb'>", or
// "<vcpu>0</vcpu>". What stands in a tag's quotes may be anything. 0: there is none.
size_t end_of_place(std::string_view text) {
  if (!text.starts_with('<')) {
    return 0;
  }
  char quote = '\0';
  bool is_in_tag = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != '\0') {
      quote = c == quote ? '\0' : quote;
    } else if (is_in_tag) {
      quote = c == '\'' || c == '"' ? c : '\0';
      is_in_tag = c != '>';
    } else if (text.substr(i).starts_with(kBehindPlace)) {
      return i;
    } else {
      is_in_tag = c == '<';
    }
  }
  return 0;
}

// "guest.xml:14: "; empty where the message is about no file.
std::string place_of(const Diagnostic& diagnostic) {
  if (diagnostic.file.empty()) {
    return {};
  }
  return diagnostic.line > 0 ? fmt::format("{}:{}: ", diagnostic.file, diagnostic.line)
                             : fmt::format("{}: ", diagnostic.file);
}

// Takes ":14" off the begin of `text`; 0: there is no such thing.
int take_line_number(std::string_view& text) {
  int number = 0;
  if (!text.starts_with(':')) {
    return 0;
  }
  const auto [behind, error] = std::from_chars(text.data() + 1, text.data() + text.size(), number);
  if (error != std::errc() || number <= 0) {
    return 0;
  }
  text.remove_prefix(static_cast<size_t>(behind - text.data()));
  return number;
}

}  // namespace

std::string to_line(const Diagnostic& diagnostic) {
  switch (diagnostic.severity) {
    case Severity::kNote:
      return fmt::format("{}note: {}", place_of(diagnostic), diagnostic.text);
    case Severity::kWarning:
      return fmt::format("{}warning: {}", place_of(diagnostic), diagnostic.text);
    case Severity::kError:
      break;
  }
  return to_line_of_log(diagnostic);
}

std::string to_line_of_log(const Diagnostic& diagnostic) { return place_of(diagnostic) + diagnostic.text; }

Diagnostic diagnostic_of(Severity severity, std::string_view line, std::string_view file) {
  if (!file.empty() && line.starts_with(file)) {
    std::string_view rest = line.substr(file.size());
    const int number = take_line_number(rest);
    if (rest.starts_with(kBehindPlace)) {
      return {severity, std::string(file), number, std::string(rest.substr(kBehindPlace.size()))};
    }
  }
  return {severity, {}, 0, std::string(line)};
}

MessageParts parts_of(std::string_view text) {
  MessageParts parts;
  if (const size_t end = end_of_place(text); end > 0) {
    parts.element = text.substr(0, end);
    text.remove_prefix(end + kBehindPlace.size());
  }
  const size_t end = text.find(kBeforeHint);
  parts.message = text.substr(0, end);
  if (end != std::string_view::npos) {
    parts.hint = text.substr(end + kBeforeHint.size());
  }
  return parts;
}

std::string printable(std::string_view text, size_t most_bytes) {
  std::string result = vmm::printable(text);
  size_t end = most_bytes;
  while (end < result.size() && (static_cast<unsigned char>(result[end]) & 0xc0) == 0x80) {
    ++end;  // not within a character
  }
  if (end < result.size()) {
    result.resize(end);
    result += "…";
  }
  return result;
}

std::string name_of_setting(std::string_view setting) { return fmt::format("--set {}", printable(setting)); }

void Reporter::error(int line, std::string text) {
  if (is_full()) {
    return;
  }
  ++errors_;
  if (is_full()) {
    text = fmt::format("more than {} errors; the rest of the file was not looked at", kMaxErrors - 1);
  }
  diagnostics_.push_back({Severity::kError, file_, line, std::move(text)});
}

void Reporter::warning(int line, std::string text) {
  if (warnings_ >= kMaxWarnings) {
    return;
  }
  ++warnings_;
  if (warnings_ >= kMaxWarnings) {
    text = fmt::format("more than {} warnings; the others are not shown", kMaxWarnings - 1);
  }
  diagnostics_.push_back({Severity::kWarning, file_, line, std::move(text)});
}

void Reporter::note(int line, std::string text) {
  if (diagnostics_.size() < kMaxErrors + kMaxWarnings) {
    diagnostics_.push_back({Severity::kNote, file_, line, std::move(text)});
  }
}

std::vector<Diagnostic> Reporter::take() {
  auto result = std::exchange(diagnostics_, {});
  std::stable_sort(result.begin(), result.end(),
                   [](const Diagnostic& a, const Diagnostic& b) { return a.line < b.line; });
  for (Diagnostic& each : result) {
    if (each.line < 0) {
      each.file = name_of_setting(settings_[static_cast<size_t>(-each.line - 1)]);
      each.line = 0;
    }
  }
  return result;
}

}  // namespace vmm::domain
