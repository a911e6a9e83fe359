#include "vmm/domain/reader.h"

#include <set>

namespace vmm::domain {

std::string alias_of(const Element& device) {
  const Element* alias = device.child("alias");
  return alias == nullptr ? std::string() : std::string(alias->value_of("name"));
}

namespace {

// NOLINTNEXTLINE(misc-no-recursion): scan_xml() has bounded the depth.
void note_doubtful(const Element& element, std::set<int>& lines) {
  if (!element.has_mistakes()) {
    return;
  }
  lines.insert(element.line);
  for (const Element& child : element.children) {
    note_doubtful(child, lines);
  }
}

}  // namespace

Domain read_domain(const ReadContext& context, const Element& root) {
  Domain domain;
  note_doubtful(root, domain.doubtful_lines);
  read_identity(context, root, domain);
  read_memory(context, root, domain);
  read_processors(context, root, domain);
  read_pins(context, root, domain);
  read_os(context, root, domain);
  read_features(context, root, domain);
  read_clock(context, root, domain);
  read_lifecycle(root, domain);
  read_metadata(context, root, domain);
  if (const Element* devices = root.child("devices")) {
    read_disks(context, *devices, domain);
    read_interfaces(context, *devices, domain);
    read_balloon(context, *devices, domain);
    read_rngs(context, *devices, domain);
    read_panic_device(context, *devices, domain);
    read_watchdog(context, *devices, domain);
    read_serials(context, *devices, domain);
  }
  check_domain(context, root, domain);
  return domain;
}

}  // namespace vmm::domain
