// <interface> as text.
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "vmm/domain/net_addresses.h"
#include "vmm/domain/write_parts.h"

namespace vmm::domain {
namespace {

std::string_view name_of(InterfaceType type) {
  switch (type) {
    case InterfaceType::kUser:
      return "user";
    case InterfaceType::kEthernet:
      return "ethernet";
    case InterfaceType::kBridge:
      return "bridge";
    case InterfaceType::kDirect:
      return "direct";
    case InterfaceType::kNetwork:
      break;
  }
  return "network";
}

std::string_view name_of(DirectMode mode) {
  switch (mode) {
    case DirectMode::kVepa:
      return "vepa";
    case DirectMode::kBridge:
      return "bridge";
    case DirectMode::kPrivate:
      return "private";
    case DirectMode::kPassthrough:
      break;
  }
  return "passthrough";
}

// Of one that is there.
std::string_view name_of(InterfaceFilter filter) {
  switch (filter) {
    case InterfaceFilter::kNoMacSpoofing:
      return "no-mac-spoofing";
    case InterfaceFilter::kNoIpSpoofing:
      return "no-ip-spoofing";
    case InterfaceFilter::kNoArpMacSpoofing:
      return "no-arp-mac-spoofing";
    case InterfaceFilter::kNoArpIpSpoofing:
      return "no-arp-ip-spoofing";
    case InterfaceFilter::kNoArpSpoofing:
      return "no-arp-spoofing";
    case InterfaceFilter::kNone:
    case InterfaceFilter::kCleanTraffic:
      break;
  }
  return "clean-traffic";
}

void write_interface_source(const Interface& interface, XmlWriter& writer) {
  XmlAttributes attributes;
  for (const auto& [name, value] :
       {std::pair("network", interface.network), std::pair("bridge", interface.bridge),
        std::pair("dev", interface.device)}) {
    if (!value.empty()) {
      attributes.emplace_back(name, value);
    }
  }
  if (interface.type == InterfaceType::kDirect) {
    attributes.emplace_back("mode", name_of(interface.direct_mode));
  }
  if (!attributes.empty()) {
    writer.add("source", attributes);
  }
}

void write_interface_target(const Interface& interface, XmlWriter& writer) {
  if (interface.target.empty()) {
    return;
  }
  XmlAttributes attributes = {{"dev", interface.target}};
  if (!interface.target_is_managed) {
    attributes.emplace_back("managed", "no");
  }
  writer.add("target", attributes);
}

void write_user_backend(const Interface& interface, XmlWriter& writer) {
  if (interface.backend == UserBackend::kSlirp) {
    return;
  }
  XmlAttributes attributes = {{"type", "passt"}};
  if (!interface.log_file.empty()) {
    attributes.emplace_back("logFile", written_path(interface.log_file));
  }
  writer.add("backend", attributes);
}

void write_ip(const std::optional<InterfaceIp>& ip, XmlWriter& writer) {
  if (ip) {
    writer.add("ip", {{"family", ip->address.is_v6 ? "ipv6" : "ipv4"},
                      {"address", ip_text(ip->address)},
                      {"prefix", fmt::format("{}", ip->prefix)}});
  }
}

void write_port_forward(const PortForward& forward, XmlWriter& writer) {
  XmlAttributes attributes = {{"proto", forward.protocol == IpProtocol::kTcp ? "tcp" : "udp"}};
  if (forward.address) {
    attributes.emplace_back("address", ip_text(*forward.address));
  }
  if (!forward.device.empty()) {
    attributes.emplace_back("dev", forward.device);
  }
  writer.open("portForward", attributes);
  for (const PortRange& range : forward.ranges) {
    XmlAttributes ports = {{"start", fmt::format("{}", range.first)}, {"end", fmt::format("{}", range.last)}};
    if (range.is_excluded) {
      ports.emplace_back("exclude", "yes");
    } else {
      ports.emplace_back("to", fmt::format("{}", range.to));
    }
    writer.add("range", ports);
  }
  writer.close();
}

using OffloadNames = std::initializer_list<std::pair<std::string_view, bool>>;

void write_offloads(std::string_view element, OffloadNames offloads, XmlWriter& writer) {
  XmlAttributes attributes;
  for (const auto& [name, is_on] : offloads) {
    if (!is_on) {
      attributes.emplace_back(name, "off");
    }
  }
  if (!attributes.empty()) {
    writer.add(element, attributes);
  }
}

XmlAttributes driver_attributes(const Interface& interface) {
  XmlAttributes attributes;
  if (interface.driver != InterfaceDriver::kAny) {
    attributes.emplace_back("name", interface.driver == InterfaceDriver::kQemu ? "qemu" : "vhost");
  }
  attributes.emplace_back("queues", fmt::format("{}", interface.queues));
  if (interface.rx_queue_size) {
    attributes.emplace_back("rx_queue_size", fmt::format("{}", *interface.rx_queue_size));
  }
  if (interface.tx_queue_size) {
    attributes.emplace_back("tx_queue_size", fmt::format("{}", *interface.tx_queue_size));
  }
  if (!interface.event_idx) {
    attributes.emplace_back("event_idx", "off");
  }
  if (!interface.ioeventfd) {
    attributes.emplace_back("ioeventfd", "off");
  }
  return attributes;
}

void write_interface_driver(const Interface& interface, XmlWriter& writer) {
  const HostOffloads& host = interface.host_offloads;
  const GuestOffloads& guest = interface.guest_offloads;
  writer.open("driver", driver_attributes(interface));
  write_offloads("host",
                 {{"csum", host.checksum},
                  {"gso", host.gso},
                  {"tso4", host.tso4},
                  {"tso6", host.tso6},
                  {"ecn", host.ecn},
                  {"ufo", host.ufo},
                  {"mrg_rxbuf", host.mergeable_buffers}},
                 writer);
  write_offloads("guest",
                 {{"csum", guest.checksum},
                  {"tso4", guest.tso4},
                  {"tso6", guest.tso6},
                  {"ecn", guest.ecn},
                  {"ufo", guest.ufo}},
                 writer);
  writer.close();
}

void write_direction(std::string_view name, const std::optional<Bandwidth>& limit, XmlWriter& writer) {
  if (!limit) {
    return;
  }
  XmlAttributes attributes = {{"average", fmt::format("{}", limit->average_kib)}};
  if (limit->peak_kib != 0) {
    attributes.emplace_back("peak", fmt::format("{}", limit->peak_kib));
  }
  if (limit->burst_kib != 0) {
    attributes.emplace_back("burst", fmt::format("{}", limit->burst_kib));
  }
  writer.add(name, attributes);
}

void write_bandwidth(const Interface& interface, XmlWriter& writer) {
  if (!interface.inbound && !interface.outbound) {
    return;
  }
  writer.open("bandwidth");
  write_direction("inbound", interface.inbound, writer);
  write_direction("outbound", interface.outbound, writer);
  writer.close();
}

void write_filter(const Interface& interface, XmlWriter& writer) {
  if (interface.filter == InterfaceFilter::kNone) {
    return;
  }
  writer.open("filterref", {{"filter", std::string(name_of(interface.filter))}});
  for (const IpAddress& ip : interface.filter_ips) {
    writer.add("parameter", {{"name", "IP"}, {"value", ip_text(ip)}});
  }
  writer.close();
}

void write_rom(const InterfaceRom& rom, XmlWriter& writer) {
  XmlAttributes attributes;
  if (!rom.is_enabled) {
    attributes.emplace_back("enabled", "no");
  }
  if (!rom.is_in_bar) {
    attributes.emplace_back("bar", "off");
  }
  if (!rom.file.empty()) {
    attributes.emplace_back("file", written_path(rom.file));
  }
  if (!attributes.empty()) {
    writer.add("rom", attributes);
  }
}

// The host's end.
void write_end_of_interface(const Interface& interface, XmlWriter& writer) {
  write_interface_source(interface, writer);
  write_interface_target(interface, writer);
  write_user_backend(interface, writer);
  write_ip(interface.ipv4, writer);
  write_ip(interface.ipv6, writer);
  for (const PortForward& forward : interface.forwards) {
    write_port_forward(forward, writer);
  }
}

}  // namespace

void write_interface(const Interface& interface, XmlWriter& writer) {
  writer.open("interface", {{"type", std::string(name_of(interface.type))}});
  writer.add("mac", {{"address", mac_text(interface.mac)}});
  write_end_of_interface(interface, writer);
  writer.add("model", {{"type", "virtio"}});
  write_interface_driver(interface, writer);
  write_bandwidth(interface, writer);
  write_filter(interface, writer);
  writer.add("link", {{"state", interface.link_is_up ? "up" : "down"}});
  if (interface.mtu) {
    writer.add("mtu", {{"size", fmt::format("{}", *interface.mtu)}});
  }
  write_rom(interface.rom, writer);
  if (interface.boot_order) {
    writer.add("boot", {{"order", fmt::format("{}", *interface.boot_order)}});
  }
  write_alias(interface.alias, writer);
  if (interface.address) {
    write_pci_address(*interface.address, writer);
  }
  writer.close();
}

}  // namespace vmm::domain
