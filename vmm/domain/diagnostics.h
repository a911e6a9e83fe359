// Diagnostics: what is to be said about a domain file, each with its line, like a good compiler's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vmm::domain {

enum class Severity : uint8_t {
  kNote,     // left out and of no consequence; shown only where the log is at "info"
  kWarning,  // left out; the guest runs, and something the file asks for is not there
  kError,    // the domain does not start
};

struct Diagnostic {
  Severity severity = Severity::kError;
  std::string file;  // empty: the message is about no file
  int line = 0;      // from 1; 0: the file as a whole
  // "<disk>/<target bus='usb'>: vmm has no USB; use bus='virtio'"
  std::string text;
};

// "guest.xml:14: <disk>/<target …>: …", warnings with "warning: " before the text. One line, without end of
// line.
std::string to_line(const Diagnostic& diagnostic);
// The same without the severity, for where that is said already.
std::string to_line_of_log(const Diagnostic& diagnostic);

// The other way: what a line without its severity says. file: what messages call the domain file; a line that
// does not begin with it is about no file.
Diagnostic diagnostic_of(Severity severity, std::string_view line, std::string_view file);

// A message in its three parts: "<disk>/<target bus='usb'>: vmm has no USB; use bus='virtio'". Put together
// with ": " and "; " between them they are the text again. element, hint: empty where there is none.
struct MessageParts {
  std::string_view element;
  std::string_view message;
  std::string_view hint;  // what to do, or what becomes of it
};
MessageParts parts_of(std::string_view text);

// Text out of the file, as it may stand in a message: vmm::printable(), and not too long.
inline constexpr size_t kMaxPrintedBytes = 80;
std::string printable(std::string_view text, size_t most_bytes = kMaxPrintedBytes);

// "--set memory=2GiB", of "memory=2GiB": what is named in the place of a file and its line.
std::string name_of_setting(std::string_view setting);

// Collects diagnostics, a bounded number of each severity: a hostile file gets no longer answer than a bad
// one.
class Reporter {
 public:
  static constexpr size_t kMaxErrors = 50;
  static constexpr size_t kMaxWarnings = 100;

  // `settings`: those that lines below 0 speak of, -1 of the first (apply_settings.h).
  explicit Reporter(std::string file, std::span<const std::string> settings = {})
      : file_(std::move(file)), settings_(settings) {}

  void error(int line, std::string text);
  void warning(int line, std::string text);
  void note(int line, std::string text);

  bool has_errors() const { return errors_ > 0; }
  // There is no point in looking further.
  bool is_full() const { return errors_ >= kMaxErrors; }

  // All of them, by line. Leaves the Reporter empty.
  std::vector<Diagnostic> take();

 private:
  std::string file_;
  std::span<const std::string> settings_;
  std::vector<Diagnostic> diagnostics_;
  size_t errors_ = 0;
  size_t warnings_ = 0;
};

}  // namespace vmm::domain
