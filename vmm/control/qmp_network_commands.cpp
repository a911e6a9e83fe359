#include "vmm/control/qmp_network_commands.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

namespace vmm::control {
namespace {

std::string mac_text_of(const InterfaceInfo::Mac& mac) { return fmt::format("{:02x}", fmt::join(mac, ":")); }

Json macs_of(const std::vector<InterfaceInfo::Mac>& macs) {
  Json list = Json::array();
  std::ranges::transform(macs, std::back_inserter(list), mac_text_of);
  return list;
}

const char* state_of(InterfaceInfo::Receives receives) {
  switch (receives) {
    case InterfaceInfo::Receives::kNone:
      return "none";
    case InterfaceInfo::Receives::kListed:
      return "normal";
    case InterfaceInfo::Receives::kAll:
      return "all";
  }
  return "normal";
}

// As QEMU: a list of VLANs that is empty lets none pass.
const char* vlan_state_of(const InterfaceInfo& interface) {
  return !interface.filters_vlans ? "all" : interface.vlans.empty() ? "none" : "normal";
}

Json filter_of(const InterfaceInfo& interface) {
  return {{"name", interface.name},
          {"promiscuous", interface.is_promiscuous},
          {"multicast", state_of(interface.multicast)},
          {"unicast", state_of(interface.unicast)},
          {"vlan", vlan_state_of(interface)},
          {"broadcast-allowed", interface.receives_broadcast},
          {"multicast-overflow", interface.multicast_has_overflown},
          {"unicast-overflow", interface.unicast_has_overflown},
          {"main-mac", mac_text_of(interface.mac)},
          {"vlan-table", interface.vlans},
          {"unicast-table", macs_of(interface.unicast_list)},
          {"multicast-table", macs_of(interface.multicast_list)}};
}

Json interface_of(const InterfaceInfo& interface) {
  const auto& [received, sent, received_filtered, sent_errors] = interface.counters;
  Json told{{"name", interface.name}, {"mac", mac_text_of(interface.mac)}, {"link-up", interface.is_link_up}};
  if (!interface.target.empty()) {
    told["target"] = interface.target;
  }
  told["received-packets"] = received.packets;
  told["received-bytes"] = received.bytes;
  told["received-dropped"] = received.dropped;
  told["received-filtered"] = received_filtered;
  told["sent-packets"] = sent.packets;
  told["sent-bytes"] = sent.bytes;
  told["sent-dropped"] = sent.dropped;
  told["sent-errors"] = sent_errors;
  return told;
}

}  // namespace

Json interface_stats(const Guest& guest) {
  Json list = Json::array();
  std::ranges::transform(guest.interfaces(), std::back_inserter(list), interface_of);
  return list;
}

Answer set_link(Guest& guest, const Request& request) {
  if (!guest.set_link(request.device, request.is_up)) {
    return std::unexpected(Fault{.error_class = "DeviceNotFound",
                                 .description = fmt::format("Device '{}' not found", request.device)});
  }
  return Json::object();
}

// As QEMU: of all where none is named, and from now on a change is told of again. Watched first, so that none
// is missed.
Answer query_rx_filter(Guest& guest, const Request& request) {
  const auto is_meant = [&request](const InterfaceInfo& interface) {
    return request.device.empty() || request.device == interface.name;
  };
  for (const InterfaceInfo& interface : guest.interfaces()) {
    if (is_meant(interface)) {
      guest.watch_filter(interface.name);
    }
  }
  Json list = Json::array();
  for (const InterfaceInfo& interface : guest.interfaces()) {
    if (is_meant(interface)) {
      list.push_back(filter_of(interface));
    }
  }
  if (list.empty() && !request.device.empty()) {
    return fault(fmt::format("invalid net client name: {}", request.device));
  }
  return list;
}

}  // namespace vmm::control
