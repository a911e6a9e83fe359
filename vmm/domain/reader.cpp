#include "vmm/domain/reader.h"

namespace vmm::domain {

std::string alias_of(const Element& device) {
  const Element* alias = device.child("alias");
  return alias == nullptr ? std::string() : std::string(alias->value_of("name"));
}

Domain read_domain(const ReadContext& context, const Element& root) {
  Domain domain;
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
