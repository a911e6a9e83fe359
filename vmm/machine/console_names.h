// Names of the consoles that somebody can attach to: their aliases in the domain file; else serial0 for COM1,
// and console0 for the first console of virtio (Linux's hvc0), and so on.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/domain/domain.h"

namespace vmm {

struct ConsolePlace {
  enum class Kind : uint8_t { kSerial, kVirtio };
  std::string name;
  Kind kind = Kind::kSerial;
  uint32_t number = 0;  // domain::Serial::port
  bool operator==(const ConsolePlace&) const = default;
};

// Serial ports first.
std::vector<ConsolePlace> console_places(const domain::Domain& domain);

// By its name; where that is empty, the first. The names that have no alias in them are known as well where
// there is one. An error: there is none, and which there are.
Result<ConsolePlace> find_console(const domain::Domain& domain, std::string_view name);

}  // namespace vmm
