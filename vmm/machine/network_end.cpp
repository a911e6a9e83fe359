#include "vmm/machine/network_end.h"

#include <utility>

#include "vmm/net/tap.h"
#include "vmm/net/user_net.h"

namespace vmm {
namespace {

IpAddress address_of(const domain::IpAddress& address) {
  return address.is_v6
             ? IpAddress::v6(address.bytes)
             : IpAddress::v4(address.bytes[0], address.bytes[1], address.bytes[2], address.bytes[3]);
}

void append_forwards(std::vector<net::PortForward>& to, const domain::PortForward& forward) {
  for (const domain::ForwardedPort& port : domain::forwarded_ports(forward)) {
    to.push_back({.protocol = forward.protocol == domain::IpProtocol::kTcp ? net::PortForward::Protocol::kTcp
                                                                           : net::PortForward::Protocol::kUdp,
                  .host_address = forward.address ? address_of(*forward.address) : IpAddress::v4(0, 0, 0, 0),
                  .host_port = port.host,
                  .guest_port = port.guest});
  }
}

Result<OpenedNetEnd> open_user(const domain::Domain& domain, const domain::Interface& wanted,
                               EventLoop& loop) {
  if (wanted.backend == domain::UserBackend::kPasst) {
    return fail("<backend type='passt'/> is not there yet; leave it out, and libslirp does the same");
  }
  net::UserNetOptions options{.hostname = domain.name.substr(0, net::kMaxHostnameBytes)};
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

Result<OpenedNetEnd> open_tap(const domain::Interface& wanted, EventLoop& loop) {
  VMM_ASSIGN_OR_RETURN(net::OpenedTap opened, net::open_tap({.name = wanted.target,
                                                             .bridge = wanted.bridge,
                                                             .pairs = static_cast<uint16_t>(wanted.queues),
                                                             .mtu = wanted.mtu.value_or(0),
                                                             .is_managed = wanted.target_is_managed},
                                                            loop));
  return OpenedNetEnd{.end = std::move(opened.end), .target = std::move(opened.name)};
}

}  // namespace

Result<OpenedNetEnd> open_net_end(const domain::Domain& domain, const domain::Interface& wanted,
                                  EventLoop& loop) {
  switch (wanted.type) {
    case domain::InterfaceType::kUser:
      return open_user(domain, wanted, loop);
    case domain::InterfaceType::kEthernet:
    case domain::InterfaceType::kBridge:
      return open_tap(wanted, loop);
    case domain::InterfaceType::kNetwork:
      if (wanted.bridge.empty()) {
        return fail(
            "there is no bridge of a network {}; use type='bridge' with <source bridge=…/>, or type='user'",
            wanted.network);
      }
      return open_tap(wanted, loop);
    case domain::InterfaceType::kDirect:
      break;
  }
  return fail("type='direct' is not there yet; use type='bridge'");
}

}  // namespace vmm
