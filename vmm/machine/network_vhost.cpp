#include "vmm/machine/network_vhost.h"

#include <utility>

#include "vmm/base/log.h"

namespace vmm {
namespace {

// What has to see the packets in vmm.
Status check_that_nothing_sees_packets(const domain::Interface& wanted) {
  if (wanted.filter != domain::InterfaceFilter::kNone) {
    return fail("the filter (<filterref>) has to see the packets");
  }
  if (wanted.inbound || wanted.outbound) {
    return fail("what limits them (<bandwidth>) has to see the packets");
  }
  if (!wanted.packet_file.empty()) {
    return fail("the packets are recorded (--dump-net)");
  }
  return {};
}

Result<std::unique_ptr<net::VhostNet>> try_vhost(const domain::Interface& wanted,
                                                 std::vector<UniqueFd> tap_queues,
                                                 const GuestMemory& memory) {
  VMM_TRY(check_that_nothing_sees_packets(wanted));
  return net::VhostNet::open(memory, std::move(tap_queues));
}

net::LinkCounters::Direction since(const net::LinkCounters::Direction& now,
                                   const net::LinkCounters::Direction& start) {
  return {.packets = now.packets - start.packets,
          .bytes = now.bytes - start.bytes,
          .dropped = now.dropped - start.dropped};
}

uint64_t less(uint64_t value, uint64_t by) { return value > by ? value - by : 0; }

}  // namespace

Status check_vhost(const domain::Interface& wanted) {
  if (wanted.driver != domain::InterfaceDriver::kVhost) {
    return {};
  }
  VMM_TRY(check_that_nothing_sees_packets(wanted));
  VMM_TRY(net::open_vhost_handle());
  return {};
}

std::unique_ptr<net::VhostNet> open_vhost(const domain::Domain& domain, const domain::Interface& wanted,
                                          const std::string& name, std::vector<UniqueFd> tap_queues,
                                          const GuestMemory& memory) {
  if (tap_queues.empty() || wanted.driver == domain::InterfaceDriver::kQemu) {
    return nullptr;
  }
  Result<std::unique_ptr<net::VhostNet>> vhost = try_vhost(wanted, std::move(tap_queues), memory);
  if (vhost) {
    log::info("network interface {}: the host's kernel moves its packets (vhost)", name);
    return *std::move(vhost);
  }
  const std::string text = fmt::format("{}: <interface>: vmm moves the packets itself, without vhost: {}",
                                       domain.where(wanted.line), vhost.error().message());
  if (wanted.driver == domain::InterfaceDriver::kVhost) {
    log::warning("{}", text);
  } else {
    log::info("{}", text);
  }
  return nullptr;
}

NetCounters::Values counters_with_vhost(const NetCounters::Values& device, const net::LinkCounters& start,
                                        const net::LinkCounters& now, bool is_macvtap) {
  // A tap receives what its guest sends; a macvtap receives from the wire, for its guest.
  const auto in = since(now.received, start.received);
  const auto out = since(now.sent, start.sent);
  const auto& [to_packets, to_bytes, to_dropped] = is_macvtap ? in : out;
  const auto& [from_packets, from_bytes, from_dropped] = is_macvtap ? out : in;
  NetCounters::Values values = device;
  values.received = {.packets = less(to_packets, device.received.dropped + device.received_filtered),
                     .bytes = to_bytes,
                     .dropped = to_dropped + device.received.dropped};
  values.sent = {.packets = from_packets, .bytes = from_bytes, .dropped = from_dropped + device.sent.dropped};
  return values;
}

}  // namespace vmm
