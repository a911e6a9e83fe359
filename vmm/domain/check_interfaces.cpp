// What can be said only of all interfaces together.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "vmm/domain/net_addresses.h"
#include "vmm/domain/port_forwards.h"
#include "vmm/domain/reader.h"

namespace vmm::domain {
namespace {

// libvirt takes them too: two cards may be one to the guest.
void check_macs(const ReadContext& context, const Domain& domain) {
  std::map<MacAddress, int> lines;
  for (const Interface& interface : domain.interfaces) {
    const auto [place, is_new] = lines.try_emplace(interface.mac, interface.line);
    if (!is_new) {
      context.report.warning(interface.line,
                             fmt::format("<interface>/<mac address='{}'>: the interface of line {} has this "
                                         "address too; in one network only one of them is reached",
                                         mac_text(interface.mac), place->second));
    }
  }
}

void check_user_network(const ReadContext& context, const Element& root, const Domain& domain) {
  if (!domain.user_network) {
    return;
  }
  const int line = domain.user_network->line;
  const Element* devices = root.child("devices");
  const bool is_unsure = devices == nullptr ? root.has_refused_children : devices->has_mistakes();
  bool has_one = false;
  for (const Interface& interface : domain.interfaces) {
    has_one = has_one || interface.type == InterfaceType::kUser;
    if (interface.backend == UserBackend::kPasst && !is_unsure) {
      context.report.error(line,
                           fmt::format("<metadata>/<vmm:user-network>: the interface of line {} is with "
                                       "passt, which knows nothing of this; remove one of them",
                                       interface.line));
    }
  }
  if (!has_one && !is_unsure) {
    context.report.warning(line,
                           "<metadata>/<vmm:user-network>: there is no interface with type='user' in the "
                           "file; without effect");
  }
}

}  // namespace

void check_interfaces(const ReadContext& context, const Element& root, const Domain& domain) {
  check_macs(context, domain);
  check_port_forwards(context, domain);
  check_user_network(context, root, domain);
}

}  // namespace vmm::domain
