#include "vmm/machine/console_names.h"

#include <fmt/ranges.h>

namespace vmm {
namespace {

std::string plain_name(ConsolePlace::Kind kind, uint32_t number) {
  return fmt::format("{}{}", kind == ConsolePlace::Kind::kSerial ? "serial" : "console", number);
}

void add(const std::vector<domain::Serial>& ends, ConsolePlace::Kind kind,
         std::vector<ConsolePlace>& places) {
  for (const domain::Serial& end : ends) {
    places.push_back({.name = end.alias.empty() ? plain_name(kind, end.port) : end.alias,
                      .kind = kind,
                      .number = end.port});
  }
}

}  // namespace

std::vector<ConsolePlace> console_places(const domain::Domain& domain) {
  std::vector<ConsolePlace> places;
  add(domain.serials, ConsolePlace::Kind::kSerial, places);
  add(domain.virtio_consoles, ConsolePlace::Kind::kVirtio, places);
  return places;
}

Result<ConsolePlace> find_console(const domain::Domain& domain, std::string_view name) {
  const std::vector<ConsolePlace> places = console_places(domain);
  if (places.empty()) {
    return fail("the guest has no console");
  }
  if (name.empty()) {
    return places.front();
  }
  for (const ConsolePlace& each : places) {
    if (each.name == name) {
      return each;
    }
  }
  std::vector<std::string> names;
  for (const ConsolePlace& each : places) {
    if (plain_name(each.kind, each.number) == name) {
      return each;
    }
    names.push_back(each.name);
  }
  return fail("the guest has no console '{}'; it has {}", name, fmt::join(names, ", "));
}

}  // namespace vmm
