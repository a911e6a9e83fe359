// What can be said only of all interfaces together.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>

#include "vmm/domain/boot_order.h"
#include "vmm/domain/net_addresses.h"
#include "vmm/domain/packet_files.h"
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

// By these they are spoken to.
void check_names(const ReadContext& context, const Domain& domain) {
  std::map<std::string, int> lines;
  for (size_t i = 0; i < domain.interfaces.size(); ++i) {
    const int line = domain.interfaces[i].line;
    const auto [place, is_new] = lines.try_emplace(interface_name(domain, i), line);
    if (!is_new) {
      context.report.error(
          line, fmt::format("<interface>: its name is {}, as that of the interface of line {}; give "
                            "it another one (<alias name=…>)",
                            place->first, place->second));
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

// Why firmware, or what it boots from the card with, finds nothing to boot. Empty: perhaps it does.
std::string_view why_not_to_boot(const Domain& domain, const Interface& interface) {
  if (!interface.rom.is_enabled) {
    return "<interface>/<rom enabled='no'>: firmware has nothing to boot from this card with; it is passed "
           "over";
  }
  const bool names_a_file = domain.user_network && !domain.user_network->boot_file.empty();
  const bool is_own_network =
      interface.type == InterfaceType::kUser && interface.backend == UserBackend::kSlirp;
  if (is_own_network && !names_a_file && interface.rom.file.empty()) {
    return "<interface>: the guest is to boot from it, and its network names no file to boot; name one in "
           "<metadata>: <vmm:user-network tftp='FOLDER' bootfile='FILE'/>";
  }
  return {};
}

void check_network_boot(const ReadContext& context, const Element& root, const Domain& domain) {
  const Element* os = root.child("os");
  if (!domain.os.kernel.empty() || root.has_refused_children || (os != nullptr && os->has_mistakes())) {
    return;
  }
  for (const BootSource& source : boot_sources(domain, "")) {
    if (source.interface == nullptr) {
      continue;
    }
    if (const std::string_view why = why_not_to_boot(domain, *source.interface); !why.empty()) {
      context.report.warning(source.interface->line, std::string(why));
    }
  }
}

void check_roms(const ReadContext& context, const Domain& domain) {
  for (const Interface& interface : domain.interfaces) {
    if (!interface.rom.file.empty() && domain.os.machine == MachineType::kMicrovm) {
      context.report.warning(interface.line,
                             "<interface>/<rom file=…>: machine='microvm' has neither firmware nor PCI; "
                             "without effect");
    }
  }
}

}  // namespace

void check_interfaces(const ReadContext& context, const Element& root, const Domain& domain) {
  check_macs(context, domain);
  check_names(context, domain);
  check_port_forwards(context, domain);
  check_user_network(context, root, domain);
  check_network_boot(context, root, domain);
  check_roms(context, domain);
}

}  // namespace vmm::domain
