#include "vmm/machine/network_end.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "vmm/domain/libvirt_network.h"
#include "vmm/domain/port_forwards.h"
#include "vmm/machine/output_files.h"
#include "vmm/net/host_link.h"
#include "vmm/net/limited_end.h"
#include "vmm/net/macvtap.h"
#include "vmm/net/passt.h"
#include "vmm/net/pcap_file.h"
#include "vmm/net/recorded_end.h"
#include "vmm/net/tap.h"
#include "vmm/net/user_net.h"

namespace vmm {
namespace {

constexpr size_t kMaxHostnameBytes = 32;  // of libslirp's DHCP server

IpAddress address_of(const domain::IpAddress& address) {
  if (!address.is_v6) {
    return IpAddress::v4(address.bytes[0], address.bytes[1], address.bytes[2], address.bytes[3]);
  }
  std::array<std::byte, 16> bytes{};
  std::ranges::transform(address.bytes, bytes.begin(), [](uint8_t byte) { return std::byte{byte}; });
  return IpAddress::v6(bytes);
}

void append_forwards(std::vector<net::PortForward>& to, const domain::PortForward& forward) {
  using Protocol = net::PortForward::Protocol;
  net::PortForward port{
      .protocol = forward.protocol == domain::IpProtocol::kTcp ? Protocol::kTcp : Protocol::kUdp,
      .host_address = forward.address ? address_of(*forward.address) : IpAddress::v4(0, 0, 0, 0)};
  for (const domain::PortRange& range : domain::forwarded_ports(forward)) {
    for (uint32_t i = 0; i <= uint32_t{range.last} - range.first; ++i) {
      port.host_port = static_cast<uint16_t>(range.first + i);
      port.guest_port = static_cast<uint16_t>(range.to + i);
      to.push_back(port);
    }
  }
}

Result<OpenedNetEnd> open_user(const domain::Domain& domain, const domain::Interface& wanted,
                               EventLoop& loop) {
  net::UserNetOptions options{.hostname = domain.name.substr(0, kMaxHostnameBytes)};
  if (wanted.ipv4) {
    options.ip4 = net::UserNetOptions::Ip4::within(address_of(wanted.ipv4->address), wanted.ipv4->prefix);
  }
  if (wanted.ipv6) {
    options.ip6 = net::UserNetOptions::Ip6(address_of(wanted.ipv6->address), wanted.ipv6->prefix);
  }
  if (domain.user_network) {
    options.is_restricted = domain.user_network->is_restricted;
    options.tftp_folder = domain.user_network->tftp_folder.native();
    options.boot_file = domain.user_network->boot_file;
  }
  for (const domain::PortForward& forward : wanted.forwards) {
    append_forwards(options.forwards, forward);
  }
  VMM_ASSIGN_OR_RETURN(auto end, net::UserNet::create(loop, options));
  return OpenedNetEnd{.end = std::move(end), .target = ""};
}

// What the file does not know of a network of libvirt's, that one's file says.
Result<std::string> bridge_of(const domain::Interface& wanted) {
  if (wanted.type != domain::InterfaceType::kNetwork) {
    return wanted.bridge;
  }
  std::string bridge = wanted.bridge;
  if (bridge.empty()) {
    VMM_ASSIGN_OR_RETURN(bridge, domain::find_network_bridge(wanted.network));
  }
  VMM_ASSIGN_OR_RETURN(const net::HostLinks links, net::HostLinks::open());
  if (!links.exists(bridge)) {
    return fail("libvirt's network {} does not run: its bridge {} is not there; as root: virsh net-start {}",
                wanted.network, bridge, wanted.network);
  }
  return bridge;
}

Result<net::TapOptions> tap_options(const domain::Interface& wanted) {
  VMM_ASSIGN_OR_RETURN(std::string bridge, bridge_of(wanted));
  return net::TapOptions{.name = wanted.target,
                         .bridge = std::move(bridge),
                         .pairs = static_cast<uint16_t>(wanted.queues),
                         .mtu = wanted.mtu.value_or(0),
                         .is_managed = wanted.target_is_managed};
}

Result<OpenedNetEnd> open_tap(const domain::Interface& wanted, EventLoop& loop) {
  VMM_ASSIGN_OR_RETURN(const net::TapOptions options, tap_options(wanted));
  VMM_ASSIGN_OR_RETURN(net::OpenedTap opened, net::open_tap(options, loop));
  return OpenedNetEnd{
      .end = std::move(opened.end), .target = std::move(opened.name), .tap_queues = std::move(opened.queues)};
}

net::PasstOptions::Forward forward_of(const domain::PortForward& forward) {
  net::PasstOptions::Forward to{.is_udp = forward.protocol == domain::IpProtocol::kUdp,
                                .device = forward.device};
  if (forward.address) {
    to.address = address_of(*forward.address);
  }
  for (const domain::PortRange& range : forward.ranges) {
    to.ranges.push_back(
        {.first = range.first, .last = range.last, .to = range.to, .is_excluded = range.is_excluded});
  }
  return to;
}

net::PasstOptions passt_options(const domain::Interface& wanted) {
  net::PasstOptions options{
      .device = wanted.device, .mtu = wanted.mtu.value_or(0), .log_file = wanted.log_file.native()};
  if (wanted.ipv4) {
    options.ip4 = address_of(wanted.ipv4->address);
    options.prefix4 = wanted.ipv4->prefix;
  }
  if (wanted.ipv6) {
    options.ip6 = address_of(wanted.ipv6->address);
  }
  std::ranges::transform(wanted.forwards, std::back_inserter(options.forwards), forward_of);
  return options;
}

Result<OpenedNetEnd> open_passt_end(const domain::Domain& domain, const domain::Interface& wanted,
                                    EventLoop& loop) {
  if (!wanted.log_file.empty()) {
    VMM_TRY(refuse_as_output(domain, wanted.log_file));
  }
  VMM_ASSIGN_OR_RETURN(auto end, net::open_passt(passt_options(wanted), loop));
  return OpenedNetEnd{.end = std::move(end), .target = ""};
}

std::array<std::byte, 6> mac_of(const domain::Interface& wanted) {
  std::array<std::byte, 6> mac{};
  std::ranges::transform(wanted.mac.bytes, mac.begin(), [](uint8_t byte) { return std::byte{byte}; });
  return mac;
}

net::MacvtapMode mode_of(domain::DirectMode mode) {
  switch (mode) {
    case domain::DirectMode::kVepa:
      return net::MacvtapMode::kVepa;
    case domain::DirectMode::kBridge:
      return net::MacvtapMode::kBridge;
    case domain::DirectMode::kPrivate:
      return net::MacvtapMode::kPrivate;
    case domain::DirectMode::kPassthrough:
      break;
  }
  return net::MacvtapMode::kPassthrough;
}

net::MacvtapOptions macvtap_options(const domain::Interface& wanted) {
  return {.name = wanted.target,
          .device = wanted.device,
          .mode = mode_of(wanted.direct_mode),
          .mac = mac_of(wanted),
          .pairs = static_cast<uint16_t>(wanted.queues),
          .mtu = wanted.mtu.value_or(0)};
}

Result<OpenedNetEnd> open_direct(const domain::Interface& wanted, EventLoop& loop) {
  VMM_ASSIGN_OR_RETURN(net::OpenedTap opened, net::open_macvtap(macvtap_options(wanted), loop));
  return OpenedNetEnd{
      .end = std::move(opened.end), .target = std::move(opened.name), .tap_queues = std::move(opened.queues)};
}

bool is_with_passt(const domain::Interface& wanted) {
  return wanted.type == domain::InterfaceType::kUser && wanted.backend == domain::UserBackend::kPasst;
}

// What leads to the host or the network, without what stands before it.
Result<OpenedNetEnd> open_bare_end(const domain::Domain& domain, const domain::Interface& wanted,
                                   EventLoop& loop) {
  switch (wanted.type) {
    case domain::InterfaceType::kUser:
      return is_with_passt(wanted) ? open_passt_end(domain, wanted, loop) : open_user(domain, wanted, loop);
    case domain::InterfaceType::kDirect:
      return open_direct(wanted, loop);
    case domain::InterfaceType::kEthernet:
    case domain::InterfaceType::kBridge:
    case domain::InterfaceType::kNetwork:
      break;
  }
  return open_tap(wanted, loop);
}

net::SpoofRules spoof_rules(const domain::Interface& wanted) {
  using Filter = domain::InterfaceFilter;
  const Filter filter = wanted.filter;
  const bool is_all = filter == Filter::kCleanTraffic;
  const bool is_arp = is_all || filter == Filter::kNoArpSpoofing;
  net::SpoofRules rules{.own_mac = is_all || filter == Filter::kNoMacSpoofing,
                        .own_ip = is_all || filter == Filter::kNoIpSpoofing,
                        .own_mac_in_arp = is_arp || filter == Filter::kNoArpMacSpoofing,
                        .own_ip_in_arp = is_arp || filter == Filter::kNoArpIpSpoofing,
                        .only_ip4_and_arp = is_all,
                        .mac = mac_of(wanted)};
  for (const domain::IpAddress& address : wanted.filter_ips) {
    const IpAddress ip = address_of(address);
    std::ranges::copy(std::span(ip.bytes()).first<std::tuple_size_v<net::SpoofRules::Ip4>>(),
                      rules.addresses.emplace_back().begin());
  }
  return rules;
}

net::Bandwidth bandwidth_of(const std::optional<domain::Bandwidth>& wanted) {
  constexpr uint64_t kKib = 1024;
  if (!wanted) {
    return {};
  }
  return {.average = wanted->average_kib * kKib,
          .peak = wanted->peak_kib * kKib,
          .burst = wanted->burst_kib * kKib};
}

}  // namespace

Status check_net_end(const domain::Interface& wanted) {
  if (wanted.type == domain::InterfaceType::kUser) {
    return is_with_passt(wanted) ? net::check_passt(passt_options(wanted)) : Status();
  }
  if (wanted.type == domain::InterfaceType::kDirect) {
    return net::check_macvtap(macvtap_options(wanted));
  }
  VMM_ASSIGN_OR_RETURN(const net::TapOptions options, tap_options(wanted));
  return net::check_tap(options);
}

Result<OpenedNetEnd> open_net_end(const domain::Domain& domain, const domain::Interface& wanted,
                                  const std::string& name, EventLoop& loop) {
  VMM_ASSIGN_OR_RETURN(OpenedNetEnd opened, open_bare_end(domain, wanted, loop));
  // What it drops uses up no bandwidth, and is recorded.
  if (wanted.filter != domain::InterfaceFilter::kNone) {
    auto filtered = std::make_unique<net::FilteredEnd>(std::move(opened.end), spoof_rules(wanted), name);
    opened.filtered = filtered.get();
    opened.end = std::move(filtered);
  }
  if (wanted.inbound || wanted.outbound) {
    VMM_ASSIGN_OR_RETURN(opened.end, net::LimitedEnd::create(loop, std::move(opened.end),
                                                             {.to_guest = bandwidth_of(wanted.inbound),
                                                              .from_guest = bandwidth_of(wanted.outbound)}));
  }
  if (!wanted.packet_file.empty()) {
    VMM_ASSIGN_OR_RETURN(net::PcapFile file, net::PcapFile::create(wanted.packet_file));
    opened.end = std::make_unique<net::RecordedEnd>(std::move(opened.end), std::move(file));
  }
  return opened;
}

}  // namespace vmm
