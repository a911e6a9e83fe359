#include "vmm/domain/port_forwards.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "vmm/domain/net_addresses.h"
#include "vmm/domain/reader.h"

namespace vmm::domain {
namespace {

constexpr uint32_t kHighestPort = std::numeric_limits<uint16_t>::max();
constexpr PortRange kAllPorts = {.first = 1, .last = kHighestPort, .to = 1};

std::optional<PortRange> read_range(const ReadContext& context, const Element& element) {
  const auto first = read_number(context, element, "start", 1, kHighestPort);
  if (!first) {
    if (element.lacks("start")) {
      context.report.error(element.line,
                           fmt::format("{}: has no start=; give it a port of the host", element.place));
    }
    return std::nullopt;
  }
  const uint32_t last = read_number(context, element, "end", 1, kHighestPort).value_or(*first);
  const uint32_t to = read_number(context, element, "to", 1, kHighestPort).value_or(*first);
  const bool is_excluded = read_flag(context, element, "exclude", false);
  if (last < *first) {
    context.report.error(element.line,
                         fmt::format("{}: ends before it starts; exchange the two", element.place));
    return std::nullopt;
  }
  if (is_excluded && element.attribute("to") != nullptr) {
    context.report.error(
        element.line,
        fmt::format("{}: what is excluded leads to no port; remove to=, or exclude=", element.place));
    return std::nullopt;
  }
  if (last - *first > kHighestPort - to) {
    context.report.error(element.line,
                         fmt::format("{}: port {} of the host would lead to port {}; the last is {}",
                                     element.place, last, to + (last - *first), kHighestPort));
    return std::nullopt;
  }
  return PortRange{.first = static_cast<uint16_t>(*first),
                   .last = static_cast<uint16_t>(last),
                   .to = static_cast<uint16_t>(to),
                   .is_excluded = is_excluded};
}

void read_forward_address(const ReadContext& context, const Element& element, PortForward& forward) {
  const Attribute* address = element.attribute("address");
  if (address == nullptr) {
    return;
  }
  forward.address = parse_ip(address->value);
  if (!forward.address) {
    context.report.error(
        address->line,
        fmt::format("{}: not an address; write one of the host's, as 127.0.0.1", element.place_of(*address)));
  }
}

void report_many_ranges(const ReadContext& context, int line) {
  context.report.error(
      line, fmt::format("<interface>/<portForward>: more than {} ranges; join some", kMaxPortRanges));
}

// What only passt does is refused.
bool is_for_slirp(const ReadContext& context, const Element& element, const PortForward& forward) {
  if (const Attribute* device = element.attribute("dev")) {
    context.report.error(device->line,
                         fmt::format("{}: only <backend type='passt'/> looks at the device; give address=",
                                     element.place_of(*device)));
  }
  const bool names_ports = std::ranges::any_of(forward.ranges, std::not_fn(&PortRange::is_excluded));
  if (!names_ports && !element.has_mistakes()) {
    context.report.error(element.line,
                         fmt::format("{}: only <backend type='passt'/> forwards all ports; say which: "
                                     "<range start='…'/>",
                                     element.place));
  }
  return names_ports;
}

// Nothing: which ports it means is not known.
std::optional<PortForward> read_port_forward(const ReadContext& context, const Element& element,
                                             UserBackend backend) {
  PortForward forward;
  forward.line = element.line;
  forward.protocol = read_choice(context, element, "proto", IpProtocol::kTcp,
                                 {{"tcp", IpProtocol::kTcp}, {"udp", IpProtocol::kUdp}});
  if (element.lacks("proto")) {
    context.report.error(element.line,
                         fmt::format("{}: has no proto=; write proto='tcp' or 'udp'", element.place));
  }
  read_forward_address(context, element, forward);
  forward.device = read_host_device(context, element, "dev");
  if (element.children.size() > kMaxPortRanges) {
    report_many_ranges(context, element.line);
    return std::nullopt;
  }
  for (const Element& each : element.children) {
    if (const auto range = read_range(context, each)) {
      forward.ranges.push_back(*range);
    }
  }
  const bool is_whole = forward.ranges.size() == element.children.size();
  return is_whole && (backend == UserBackend::kPasst || is_for_slirp(context, element, forward))
             ? std::optional(std::move(forward))
             : std::nullopt;
}

size_t number_of_ports(const std::vector<PortForward>& forwards) {
  size_t number = 0;
  for (const PortForward& forward : forwards) {
    for (const PortRange& range : forwarded_ports(forward)) {
      number += size_t{range.last} - range.first + 1;
    }
  }
  return number;
}

// `range` without what is `excluded`: what is before it, and what is behind it.
std::vector<PortRange> without(const PortRange& range, const PortRange& excluded) {
  if (excluded.last < range.first || excluded.first > range.last) {
    return {range};
  }
  std::vector<PortRange> left;
  if (range.first < excluded.first) {
    left.push_back(range);
    left.back().last = static_cast<uint16_t>(excluded.first - 1);
  }
  if (range.last > excluded.last) {
    left.push_back(range);
    left.back().first = static_cast<uint16_t>(excluded.last + 1);
    left.back().to = static_cast<uint16_t>(range.to + (left.back().first - range.first));
  }
  return left;
}

struct TakenPorts {
  const PortForward* forward = nullptr;
  PortRange range;
};

bool is_same_place(const PortForward& a, const PortForward& b) {
  const bool is_same_address = !a.address || !b.address || *a.address == *b.address;
  const bool is_same_device = a.device.empty() || b.device.empty() || a.device == b.device;
  return a.protocol == b.protocol && is_same_address && is_same_device;
}

}  // namespace

std::vector<PortRange> forwarded_ports(const PortForward& forward) {
  std::vector<PortRange> ports;
  std::ranges::remove_copy_if(forward.ranges, std::back_inserter(ports), &PortRange::is_excluded);
  if (ports.empty()) {
    ports.push_back(kAllPorts);
  }
  for (const PortRange& excluded : forward.ranges) {
    if (!excluded.is_excluded) {
      continue;
    }
    std::vector<PortRange> left;
    for (const PortRange& each : ports) {
      std::ranges::copy(without(each, excluded), std::back_inserter(left));
    }
    ports = std::move(left);
  }
  std::ranges::stable_sort(ports, {}, &PortRange::first);
  return ports;
}

void read_port_forwards(const ReadContext& context, const Element& element, Interface& interface) {
  for (const Element& each : element.children) {
    if (each.name != "portForward") {
      continue;
    }
    if (interface.type != InterfaceType::kUser) {
      context.report.error(each.line,
                           fmt::format("{}: only type='user' forwards ports: by another, the guest "
                                       "is reached at its own address; remove it",
                                       each.place));
      return;
    }
    if (auto forward = read_port_forward(context, each, interface.backend)) {
      interface.forwards.push_back(*std::move(forward));
    }
  }
  if (interface.backend == UserBackend::kSlirp && !element.has_mistakes() &&
      number_of_ports(interface.forwards) > kMaxForwardedPorts) {
    context.report.error(
        interface.forwards.front().line,
        fmt::format("<interface>/<portForward>: {} ports are too many; {} can be, or more with <backend "
                    "type='passt'/>",
                    number_of_ports(interface.forwards), kMaxForwardedPorts));
  }
}

void check_port_forwards(const ReadContext& context, const Domain& domain) {
  std::vector<TakenPorts> taken;
  for (const Interface& interface : domain.interfaces) {
    for (const PortForward& forward : interface.forwards) {
      if (taken.size() > kMaxPortRanges) {
        return report_many_ranges(context, forward.line);
      }
      for (const PortRange& range : forwarded_ports(forward)) {
        const auto other = std::ranges::find_if(taken, [&](const TakenPorts& each) {
          return is_same_place(*each.forward, forward) && each.range.first <= range.last &&
                 range.first <= each.range.last;
        });
        if (other != taken.end()) {
          context.report.error(
              forward.line,
              fmt::format("<interface>/<portForward>: port {} of the host is forwarded by line {} already; "
                          "give another",
                          std::max(range.first, other->range.first), other->forward->line));
          break;
        }
        taken.push_back({&forward, range});
      }
    }
  }
}

}  // namespace vmm::domain
