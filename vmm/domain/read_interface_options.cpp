#include "vmm/domain/read_interface_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string_view>

#include "vmm/base/bytes.h"
#include "vmm/domain/net_addresses.h"

namespace vmm::domain {
namespace {

std::optional<uint32_t> read_interface_queue_size(const ReadContext& context, const Element& driver,
                                                  std::string_view name) {
  const auto size = read_number(context, driver, name, kMinInterfaceQueueSize, kMaxQueueSize);
  if (size && !is_power_of_two(*size)) {
    const Attribute* attribute = driver.attribute(name);
    context.report.error(attribute->line,
                         fmt::format("{}: give a power of two", driver.place_of(*attribute)));
    return std::nullopt;
  }
  return size;
}

void read_interface_queues(const ReadContext& context, const Element& driver, Interface& interface) {
  interface.queues = read_number(context, driver, "queues", 1, kMaxInterfaceQueues).value_or(1);
  if (interface.queues > 1 && interface.type == InterfaceType::kUser) {
    const Attribute* queues = driver.attribute("queues");
    context.report.error(queues->line, fmt::format("{}: type='user' has one; remove it, or use a tap",
                                                   driver.place_of(*queues)));
  }
  interface.rx_queue_size = read_interface_queue_size(context, driver, "rx_queue_size");
  interface.tx_queue_size = read_interface_queue_size(context, driver, "tx_queue_size");
  interface.event_idx = read_flag(context, driver, "event_idx", true);
  interface.ioeventfd = read_flag(context, driver, "ioeventfd", true);
}

void read_offloads(const ReadContext& context, const Element& driver, Interface& interface) {
  if (const Element* host = driver.child("host")) {
    const auto flag = [&](std::string_view name) { return read_flag(context, *host, name, true); };
    interface.host_offloads = {.checksum = flag("csum"),
                               .gso = flag("gso"),
                               .tso4 = flag("tso4"),
                               .tso6 = flag("tso6"),
                               .ecn = flag("ecn"),
                               .ufo = flag("ufo"),
                               .mergeable_buffers = flag("mrg_rxbuf")};
  }
  if (const Element* guest = driver.child("guest")) {
    const auto flag = [&](std::string_view name) { return read_flag(context, *guest, name, true); };
    interface.guest_offloads = {.checksum = flag("csum"),
                                .tso4 = flag("tso4"),
                                .tso6 = flag("tso6"),
                                .ecn = flag("ecn"),
                                .ufo = flag("ufo")};
  }
}

void read_interface_driver(const ReadContext& context, const Element& element, Interface& interface) {
  const Element* driver = element.child("driver");
  if (driver == nullptr) {
    return;
  }
  interface.driver = read_choice(context, *driver, "name", InterfaceDriver::kAny,
                                 {{"qemu", InterfaceDriver::kQemu}, {"vhost", InterfaceDriver::kVhost}});
  if (interface.driver == InterfaceDriver::kVhost && interface.type == InterfaceType::kUser) {
    const Attribute* name = driver->attribute("name");
    context.report.warning(name->line,
                           fmt::format("{}: the host's kernel moves packets of taps only; vmm moves "
                                       "these itself",
                                       driver->place_of(*name)));
    interface.driver = InterfaceDriver::kQemu;
  }
  read_interface_queues(context, *driver, interface);
  read_offloads(context, *driver, interface);
}

std::optional<Bandwidth> read_direction(const ReadContext& context, const Element& bandwidth,
                                        std::string_view name) {
  constexpr uint32_t kHighest = std::numeric_limits<uint32_t>::max();
  const Element* direction = bandwidth.child(name);
  if (direction == nullptr) {
    return std::nullopt;
  }
  Bandwidth limit;
  limit.average_kib = read_number(context, *direction, "average", 1, kHighest).value_or(0);
  limit.peak_kib = read_number(context, *direction, "peak", 1, kHighest).value_or(0);
  limit.burst_kib = read_number(context, *direction, "burst", 1, kHighest).value_or(0);
  const bool is_only_a_floor = direction->attribute("floor") != nullptr && direction->attributes.size() == 1;
  if (direction->lacks("average")) {
    if (!is_only_a_floor) {
      context.report.error(direction->line,
                           fmt::format("{}: has no average=; give it in KiB a second", direction->place));
    }
    return std::nullopt;
  }
  if (limit.peak_kib != 0 && limit.peak_kib < limit.average_kib) {
    const Attribute* peak = direction->attribute("peak");
    context.report.error(peak->line, fmt::format("{}: lower than average=; give at least as much",
                                                 direction->place_of(*peak)));
  }
  return limit.average_kib == 0 ? std::nullopt : std::optional(limit);
}

void read_filter_parameters(const ReadContext& context, const Element& filter, Interface& interface) {
  for (const Element& each : filter.children) {
    if (each.lacks("name")) {
      context.report.error(each.line, fmt::format("{}: has no name=; write name='IP'", each.place));
    }
    if (each.value_of("name") != "IP") {
      continue;
    }
    const auto ip = parse_ip(each.value_of("value"));
    if (ip && !ip->is_v6) {
      interface.filter_ips.push_back(*ip);
    } else if (!each.is_mistaken("value")) {
      context.report.error(each.line,
                           fmt::format("{}: give value= an IPv4 address of the guest", each.place));
    }
  }
}

void read_filter(const ReadContext& context, const Element& element, Interface& interface) {
  const Element* filter = element.child("filterref");
  if (filter == nullptr) {
    return;
  }
  if (filter->lacks("filter")) {
    context.report.error(filter->line,
                         fmt::format("{}: has no filter=; write filter='clean-traffic'", filter->place));
    return;
  }
  interface.filter = read_choice(context, *filter, "filter", InterfaceFilter::kNone,
                                 {{"no-mac-spoofing", InterfaceFilter::kNoMacSpoofing},
                                  {"no-ip-spoofing", InterfaceFilter::kNoIpSpoofing},
                                  {"no-arp-mac-spoofing", InterfaceFilter::kNoArpMacSpoofing},
                                  {"no-arp-ip-spoofing", InterfaceFilter::kNoArpIpSpoofing},
                                  {"no-arp-spoofing", InterfaceFilter::kNoArpSpoofing},
                                  {"clean-traffic", InterfaceFilter::kCleanTraffic}});
  read_filter_parameters(context, *filter, interface);
  const auto is_ip = [](const Element& parameter) { return parameter.value_of("name") == "IP"; };
  if (interface.filter != InterfaceFilter::kNone && !looks_at_ips(interface.filter)) {
    interface.filter_ips.clear();
  } else if (!filter->has_mistakes() && !std::ranges::any_of(filter->children, is_ip)) {
    context.report.error(filter->line,
                         fmt::format("{}: the guest's address is not learned from what it sends; give it: "
                                     "<parameter name='IP' value='…'/>",
                                     filter->place));
  }
}

}  // namespace

void read_interface_options(const ReadContext& context, const Element& element, Interface& interface) {
  read_interface_driver(context, element, interface);
  if (const Element* bandwidth = element.child("bandwidth")) {
    interface.inbound = read_direction(context, *bandwidth, "inbound");
    interface.outbound = read_direction(context, *bandwidth, "outbound");
  }
  read_filter(context, element, interface);
  const Element* link = element.child("link");
  interface.link_is_up = link == nullptr || link->value_of("state") != "down";
  if (const Element* mtu = element.child("mtu")) {
    interface.mtu = read_number(context, *mtu, "size", kMinMtu, kMaxMtu);
    if (mtu->lacks("size")) {
      context.report.error(mtu->line, fmt::format("{}: has no size=; give it, or remove it", mtu->place));
    }
  }
}

}  // namespace vmm::domain
