// <interface>: a network card, and the host's end of it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "vmm/domain/net_addresses.h"
#include "vmm/domain/port_forwards.h"
#include "vmm/domain/read_interface_options.h"
#include "vmm/domain/reader.h"

namespace vmm::domain {
namespace {

std::string_view name_of_type(InterfaceType type) {
  constexpr std::array<std::string_view, 5> kNames = {"user", "ethernet", "bridge", "direct", "network"};
  return kNames.at(static_cast<size_t>(type));
}

// It becomes the name of a file.
std::string read_network_name(const ReadContext& context, const Element& source) {
  const Attribute* name = source.attribute("network");
  if (name == nullptr || name->value.empty()) {
    return {};
  }
  if (name->value.find('/') != std::string::npos || name->value.front() == '.' ||
      printable(name->value) != name->value) {
    context.report.error(
        name->line,
        fmt::format("{}: not a name of one of libvirt's networks; virsh net-list --all shows them",
                    source.place_of(*name)));
    return {};
  }
  return name->value;
}

struct SourceAttribute {
  std::string_view name;
  std::array<bool, 5> is_of;  // by InterfaceType
};
constexpr std::array<SourceAttribute, 4> kSourceAttributes = {
    {{"bridge", {false, false, true, false, true}},
     {"dev", {true, false, false, true, false}},
     {"mode", {false, false, false, true, false}},
     {"network", {false, false, false, false, true}}}};

// The attribute that the type is nothing without; empty: there is none.
std::string_view needed_source(InterfaceType type) {
  switch (type) {
    case InterfaceType::kUser:
    case InterfaceType::kEthernet:
      return {};
    case InterfaceType::kBridge:
      return "bridge";
    case InterfaceType::kDirect:
      return "dev";
    case InterfaceType::kNetwork:
      break;
  }
  return "network";
}

// A dump of a running guest has what the network became beside its name.
void check_source_attributes(const ReadContext& context, const Element& source, InterfaceType type) {
  for (const SourceAttribute& each : kSourceAttributes) {
    const Attribute* found = source.attribute(each.name);
    const bool is_dumped = source.attribute("network") != nullptr && each.name != "mode";
    if (found != nullptr && !each.is_of.at(static_cast<size_t>(type)) &&
        !(is_dumped && (type == InterfaceType::kBridge || type == InterfaceType::kDirect))) {
      context.report.error(found->line, fmt::format("{}: means nothing with type='{}'; remove it",
                                                    source.place_of(*found), name_of_type(type)));
    }
  }
}

void read_interface_source(const ReadContext& context, const Element& element, Interface& interface) {
  const Element* source = element.child("source");
  const std::string_view needed = needed_source(interface.type);
  const bool is_unsure = source == nullptr ? element.has_refused_children : source->is_mistaken(needed);
  if (!needed.empty() && !is_unsure && (source == nullptr || source->value_of(needed).empty())) {
    context.report.error(source == nullptr ? element.line : source->line,
                         fmt::format("{}: type='{}' has no <source {}='…'/>; say which is meant",
                                     element.place, name_of_type(interface.type), needed));
    return;
  }
  if (source == nullptr) {
    return;
  }
  check_source_attributes(context, *source, interface.type);
  interface.direct_mode = read_choice(context, *source, "mode", DirectMode::kVepa,
                                      {{"vepa", DirectMode::kVepa},
                                       {"bridge", DirectMode::kBridge},
                                       {"private", DirectMode::kPrivate},
                                       {"passthrough", DirectMode::kPassthrough}});
  const bool has_bridge =
      interface.type == InterfaceType::kBridge || interface.type == InterfaceType::kNetwork;
  interface.bridge = has_bridge ? read_host_device(context, *source, "bridge") : "";
  const bool has_device = interface.type == InterfaceType::kDirect || interface.type == InterfaceType::kUser;
  interface.device = has_device ? read_host_device(context, *source, "dev") : "";
  interface.network = interface.type == InterfaceType::kNetwork ? read_network_name(context, *source) : "";
}

void read_interface_target(const ReadContext& context, const Element& element, Interface& interface) {
  const Element* target = element.child("target");
  if (target == nullptr) {
    return;
  }
  if (interface.type == InterfaceType::kUser) {
    if (const Attribute* dev = target->attribute("dev")) {
      context.report.warning(dev->line, fmt::format("{}: type='user' has no device on the host; left out",
                                                    target->place_of(*dev)));
    }
    return;
  }
  interface.target = read_host_device(context, *target, "dev");
  interface.target_is_managed = read_flag(context, *target, "managed", true);
  if (interface.target_is_managed) {
    return;
  }
  if (interface.type != InterfaceType::kEthernet) {
    context.report.error(target->line,
                         fmt::format("{}: managed='no' is for type='ethernet'; remove it", target->place));
  } else if (target->lacks("dev")) {
    context.report.error(target->line,
                         fmt::format("{}: managed='no' has no dev=; say which tap is there", target->place));
  }
}

void read_user_backend(const ReadContext& context, const Element& element, Interface& interface) {
  const Element* backend = element.child("backend");
  const Element* source = element.child("source");
  if (backend != nullptr) {
    interface.backend = read_choice(context, *backend, "type", UserBackend::kSlirp,
                                    {{"default", UserBackend::kSlirp}, {"passt", UserBackend::kPasst}});
  }
  const bool is_passt = interface.backend == UserBackend::kPasst;
  const Attribute* log_file = backend == nullptr ? nullptr : backend->attribute("logFile");
  if (is_passt && interface.type != InterfaceType::kUser) {
    context.report.error(backend->line,
                         fmt::format("{}: passt is for type='user'; remove it", backend->place));
    return;
  }
  if (is_passt) {
    interface.log_file = log_file == nullptr ? "" : context.complete(*backend, log_file->value);
    return;
  }
  if (backend != nullptr && backend->has_mistakes()) {
    interface.backend = UserBackend::kPasst;  // the one of which nothing else is refused
    return;
  }
  if (log_file != nullptr) {
    context.report.error(log_file->line, fmt::format("{}: only type='passt' writes a log; remove it",
                                                     backend->place_of(*log_file)));
  }
  const Attribute* device = source == nullptr ? nullptr : source->attribute("dev");
  if (interface.type == InterfaceType::kUser && device != nullptr) {
    context.report.error(device->line,
                         fmt::format("{}: only passt takes one device of the host; add <backend "
                                     "type='passt'/>, or remove it",
                                     source->place_of(*device)));
  }
}

// Without passt the network has places for the guest, the host and a name server (libslirp has them at its
// 15th, 2nd and 3rd address).
uint32_t longest_prefix(const Interface& interface, bool is_v6) {
  if (interface.backend == UserBackend::kPasst) {
    return is_v6 ? 128 : 32;
  }
  return is_v6 ? 126 : 27;
}

void read_ip(const ReadContext& context, const Element& element, Interface& interface) {
  const Attribute* text = element.attribute("address");
  const auto address = text == nullptr ? std::nullopt : parse_ip(text->value);
  const bool is_v6 = element.value_of("family") == "ipv6";
  if (!address || address->is_v6 != is_v6) {
    if (!element.is_mistaken("address") && !element.is_mistaken("family")) {
      context.report.error(element.line, fmt::format("{}: give address= an {} address{}", element.place,
                                                     is_v6 ? "IPv6" : "IPv4",
                                                     address && !is_v6 ? ", or add family='ipv6'" : ""));
    }
    return;
  }
  const uint32_t longest = longest_prefix(interface, is_v6);
  const auto prefix = element.attribute("prefix") == nullptr
                          ? usual_prefix(*address)
                          : read_number(context, element, "prefix", 1, longest);
  if (!prefix) {
    if (element.lacks("prefix")) {
      context.report.error(element.line,
                           fmt::format("{}: no network has this address; give another", element.place));
    }
    return;
  }
  auto& place = is_v6 ? interface.ipv6 : interface.ipv4;
  if (place) {
    context.report.error(element.line,
                         fmt::format("{}: there is one of this family already; keep one", element.place));
    return;
  }
  place = InterfaceIp{.address = *address, .prefix = *prefix};
}

void read_ips(const ReadContext& context, const Element& element, Interface& interface) {
  for (const Element& each : element.children) {
    if (each.name != "ip") {
      continue;
    }
    if (interface.type != InterfaceType::kUser) {
      context.report.error(
          each.line, fmt::format("{}: only type='user' gives the guest its address; remove it", each.place));
      return;
    }
    read_ip(context, each, interface);
  }
}

// Nothing: there is none, or none that is right.
std::optional<MacAddress> read_mac(const ReadContext& context, const Element& element) {
  const Element* element_of_mac = element.child("mac");
  const Attribute* text = element_of_mac == nullptr ? nullptr : element_of_mac->attribute("address");
  if (text == nullptr) {
    if (element_of_mac != nullptr && element_of_mac->lacks("address")) {
      context.report.error(element_of_mac->line, fmt::format("{}: has no address=; give it one, or remove it",
                                                             element_of_mac->place));
    }
    return std::nullopt;
  }
  const auto mac = parse_mac(text->value);
  const bool is_of_a_group = mac && (mac->bytes[0] & 1U) != 0;
  if (mac && !is_of_a_group && *mac != MacAddress{}) {
    return mac;
  }
  context.report.error(
      text->line,
      fmt::format("{}: {}", element_of_mac->place_of(*text),
                  !mac            ? "not a MAC address; write it as 52:54:00:12:34:56"
                  : is_of_a_group ? "is the address of a group of cards; give one whose first byte is even"
                                  : "is no card's address; give another"));
  return std::nullopt;
}

void read_rom(const ReadContext& context, const Element& element, Interface& interface) {
  const Element* rom = element.child("rom");
  if (rom == nullptr) {
    return;
  }
  interface.rom.is_enabled = read_flag(context, *rom, "enabled", true);
  interface.rom.is_in_bar = read_flag(context, *rom, "bar", true);
  const Attribute* file = rom->attribute("file");
  if (file != nullptr && !file->value.empty()) {
    interface.rom.file = context.complete(*rom, file->value);
  }
  if (!interface.rom.is_enabled && (rom->attribute("bar") != nullptr || file != nullptr)) {
    context.report.error(
        rom->line,
        fmt::format("{}: enabled='no' goes with neither bar= nor file=; remove these", rom->place));
  }
}

Interface read_interface(const ReadContext& context, const Element& element, const Domain& domain) {
  Interface interface;
  interface.line = element.line;
  interface.type = read_choice(context, element, "type", InterfaceType::kUser,
                               {{"user", InterfaceType::kUser},
                                {"ethernet", InterfaceType::kEthernet},
                                {"bridge", InterfaceType::kBridge},
                                {"direct", InterfaceType::kDirect},
                                {"network", InterfaceType::kNetwork}});
  if (!element.is_mistaken("type")) {  // else nothing is known of what goes with it
    read_user_backend(context, element, interface);
    read_interface_source(context, element, interface);
    read_interface_target(context, element, interface);
    read_ips(context, element, interface);
    read_port_forwards(context, element, interface);
  }
  read_interface_options(context, element, interface);
  read_rom(context, element, interface);
  interface.boot_order = read_boot_order(context, element);
  interface.address = read_virtio_address(context, element, domain.os.machine);
  interface.alias = alias_of(element);
  return interface;
}

// Each without one gets that of its number, or one of the next where another has it.
void make_macs(const std::vector<size_t>& without_mac, Domain& domain) {
  for (const size_t index : without_mac) {
    auto number = static_cast<uint32_t>(index);
    MacAddress mac = made_mac(domain, number);
    while (std::ranges::find(domain.interfaces, mac, &Interface::mac) != domain.interfaces.end()) {
      number += kMaxPcDevices;
      mac = made_mac(domain, number);
    }
    domain.interfaces[index].mac = mac;
  }
}

}  // namespace

std::string read_host_device(const ReadContext& context, const Element& element, std::string_view name) {
  const Attribute* attribute = element.attribute(name);
  if (attribute == nullptr) {
    return {};
  }
  if (!is_host_device_name(attribute->value)) {
    context.report.error(attribute->line,
                         fmt::format("{}: not a name of a network device: these have at most 15 characters, "
                                     "no '/', ':' or '%' and no white space",
                                     element.place_of(*attribute)));
    return {};
  }
  return attribute->value;
}

void read_interfaces(const ReadContext& context, const Element& devices, Domain& domain) {
  std::vector<size_t> without_mac;
  for (const Element& each : devices.children) {
    if (each.name != "interface") {
      continue;
    }
    if (domain.interfaces.size() == kMaxPcDevices) {
      context.report.error(each.line,
                           fmt::format("{}: more than {} interfaces; remove it", each.place, kMaxPcDevices));
      break;
    }
    Interface interface = read_interface(context, each, domain);
    if (const auto mac = read_mac(context, each)) {
      interface.mac = *mac;
    } else {
      without_mac.push_back(domain.interfaces.size());
    }
    domain.interfaces.push_back(std::move(interface));
  }
  make_macs(without_mac, domain);
}

}  // namespace vmm::domain
