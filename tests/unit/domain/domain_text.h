// Domain files for tests: a small one that is right, with parts of it exchanged or added.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/domain/load.h"

namespace vmm::domain::testing {

struct DomainText {
  std::string general = "<name>guest</name>";
  std::string memory = "<memory unit='MiB'>64</memory>";
  std::string os = "<os><type>hvm</type><kernel>/boot/vmlinuz</kernel></os>";
  std::string features = "<features><acpi/></features>";
  std::string others = {};
  std::string devices = {};

  // Each part on a line of its own: general is line 2, memory 3, os 4, features 5, others 6, devices 8.
  std::string text() const {
    return "<domain type='kvm'>\n" + general + "\n" + memory + "\n" + os + "\n" + features + "\n" + others +
           "\n<devices>\n" + devices + "\n</devices>\n</domain>\n";
  }
};

inline Reading read(const std::string& text) { return parse_domain(text, "guest.xml", "/images"); }
inline Reading read(const DomainText& text) { return read(text.text()); }

inline std::vector<std::string> lines(const Reading& reading, Severity severity) {
  std::vector<std::string> result;
  for (const Diagnostic& each : reading.diagnostics) {
    if (each.severity == severity) {
      result.push_back(to_line(each));
    }
  }
  return result;
}
inline std::vector<std::string> errors(const Reading& reading) { return lines(reading, Severity::kError); }
inline std::vector<std::string> warnings(const Reading& reading) {
  return lines(reading, Severity::kWarning);
}

}  // namespace vmm::domain::testing
