// Diagnostics: what is to be said about a domain file, each with its line, like a good compiler's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vmm::domain {

enum class Severity : uint8_t {
  kNote,     // left out and of no consequence; shown only where the log is at "info"
  kWarning,  // left out; the guest runs, and something the file asks for is not there
  kError,    // the domain does not start
};

struct Diagnostic {
  Severity severity = Severity::kError;
  std::string file;
  int line = 0;  // from 1; 0: the file as a whole
  // "<devices>/<disk>/<target bus='usb'>: vmm has no USB; use bus='virtio'"
  std::string text;
};

// "guest.xml:14: <disk>/<target …>: …", warnings with "warning: " before the text. One line, without end of
// line.
std::string to_line(const Diagnostic& diagnostic);

}  // namespace vmm::domain
