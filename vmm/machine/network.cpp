#include "vmm/machine/network.h"

#include <algorithm>
#include <future>
#include <optional>
#include <utility>

#include "boot/firmware_files.h"
#include "vmm/domain/packet_files.h"
#include "vmm/machine/network_end.h"
#include "vmm/machine/network_rom.h"
#include "vmm/machine/network_vhost.h"

namespace vmm {
namespace {

constexpr uint32_t kDefaultQueueSize = 256;

virtio::VirtioNet::Options device_options(const domain::Interface& wanted, const std::string& name) {
  const domain::HostOffloads& host = wanted.host_offloads;
  const domain::GuestOffloads& guest = wanted.guest_offloads;
  return {.name = name,
          .mac = wanted.mac.bytes,
          .mtu = static_cast<uint16_t>(wanted.mtu.value_or(0)),
          .queue_size = static_cast<uint16_t>(std::max(
              {kDefaultQueueSize, wanted.rx_queue_size.value_or(0), wanted.tx_queue_size.value_or(0)})),
          .is_link_up = wanted.link_is_up,
          .offers_mergeable_buffers = host.mergeable_buffers,
          .offers_event_index = wanted.event_idx,
          .host = {.checksum = host.checksum,
                   .tcp4 = host.gso && host.tso4,
                   .tcp6 = host.gso && host.tso6,
                   .ecn = host.ecn},
          .guest = {.checksum = guest.checksum, .tcp4 = guest.tso4, .tcp6 = guest.tso6, .ecn = guest.ecn}};
}

InterfaceInfo::Receives receives(bool is_none, bool is_all) {
  return is_none  ? InterfaceInfo::Receives::kNone
         : is_all ? InterfaceInfo::Receives::kAll
                  : InterfaceInfo::Receives::kListed;
}

InterfaceInfo info_of(const virtio::VirtioNet& device) {
  const virtio::NetFilter filter = device.filter();
  InterfaceInfo info{.mac = filter.own(),
                     .is_link_up = device.is_link_up(),
                     .is_promiscuous = filter.is_promiscuous,
                     .unicast = receives(filter.takes_no_unicast, filter.takes_all_unicast),
                     .multicast = receives(filter.takes_no_multicast, filter.takes_all_multicast),
                     .receives_broadcast = !filter.takes_no_broadcast,
                     .unicast_list = filter.unicast.addresses,
                     .multicast_list = filter.multicast.addresses,
                     .unicast_has_overflown = filter.unicast.has_overflown,
                     .multicast_has_overflown = filter.multicast.has_overflown,
                     .filters_vlans = filter.filters_vlans,
                     .counters = device.counters().values()};
  for (size_t vlan = 0; filter.filters_vlans && vlan < filter.vlans.size(); ++vlan) {
    if (filter.vlans.test(vlan)) {
      info.vlans.push_back(static_cast<uint16_t>(vlan));
    }
  }
  return info;
}

}  // namespace

Result<std::unique_ptr<Network>> Network::create(
    const domain::Domain& domain, VirtioPlaces& places,
    std::function<void(const std::string& interface)> on_filter_change) {
  if (domain.interfaces.empty()) {
    return nullptr;
  }
  std::unique_ptr<Network> network(new Network(std::move(on_filter_change)));
  for (const domain::Interface& wanted : domain.interfaces) {
    if (const Status added = network->add(domain, wanted, places); !added) {
      return std::unexpected(added.error().within(fmt::format("{}: <interface>", domain.where(wanted.line))));
    }
  }
  return network;
}

Network::~Network() {
  for (const auto& thread : threads_) {
    thread->stop();
  }
}

Result<EventLoop*> Network::loop_for(const domain::Interface& wanted) {
  const bool is_user = wanted.type == domain::InterfaceType::kUser;
  if (is_user && user_thread_ != nullptr) {
    return &user_thread_->loop();
  }
  VMM_ASSIGN_OR_RETURN(auto thread,
                       IoThread::create(is_user ? "net-user" : fmt::format("net{}", interfaces_.size())));
  threads_.push_back(std::move(thread));
  if (is_user) {
    user_thread_ = threads_.back().get();
  }
  return &threads_.back()->loop();
}

Status Network::add(const domain::Domain& domain, const domain::Interface& wanted, VirtioPlaces& places) {
  Interface added;
  added.name = domain::interface_name(domain, interfaces_.size());
  VMM_ASSIGN_OR_RETURN(EventLoop* const loop, loop_for(wanted));
  VMM_ASSIGN_OR_RETURN(OpenedNetEnd opened, open_net_end(domain, wanted, added.name, *loop));
  added.end = std::move(opened.end);
  added.target = std::move(opened.target);
  added.filtered = opened.filtered;
  added.vhost = open_vhost(domain, wanted, added.name, std::move(opened.tap_queues), places.world().memory);
  added.is_macvtap = wanted.type == domain::InterfaceType::kDirect;
  if (added.vhost != nullptr) {
    added.at_start = net::link_counters(added.target);
  }
  virtio::VirtioNet::Options options = device_options(wanted, added.name);
  options.host_of_rings = added.vhost.get();
  options.on_filter_change = [this, name = added.name] { on_filter_change_(name); };
  added.device = std::make_unique<virtio::VirtioNet>(*added.end, std::move(options));
  added.rom_is_in_bar = wanted.rom.is_in_bar;
  VMM_ASSIGN_OR_RETURN(added.rom, content_of_card_rom(domain, wanted));
  VMM_ASSIGN_OR_RETURN(added.transport,
                       places.attach(*added.device, *loop,
                                     {.address = wanted.address,
                                      .has_ioeventfd = wanted.ioeventfd,
                                      .rom = wanted.rom.is_in_bar ? added.rom : std::vector<std::byte>()}));
  interfaces_.push_back(std::move(added));
  return {};
}

void Network::start() {
  for (const auto& thread : threads_) {
    thread->start();
  }
}

void Network::quiesce() {
  if (std::exchange(is_quiesced_, true)) {
    return;
  }
  for (const Interface& interface : interfaces_) {
    std::promise<void> quiet;
    interface.transport.core().quiesce([&quiet] { quiet.set_value(); });
    quiet.get_future().wait();
  }
}

void Network::resume() {
  if (std::exchange(is_quiesced_, false)) {
    for (const Interface& interface : interfaces_) {
      interface.transport.core().resume();
    }
  }
}

void Network::reset() const {
  for (const Interface& interface : interfaces_) {
    interface.transport.reset();
  }
}

std::optional<std::string> Network::boot_path(size_t number) const {
  const Interface& interface = interfaces_[number];
  if (interface.rom.empty()) {
    return std::nullopt;
  }
  return interface.rom_is_in_bar ? boot::network_card_path(interface.transport.slot)
                                 : boot::option_rom_path(hidden_rom_name(number));
}

void Network::add_option_roms(Firmware& firmware) const {
  for (size_t number = 0; number < interfaces_.size(); ++number) {
    const Interface& interface = interfaces_[number];
    if (!interface.rom.empty() && !interface.rom_is_in_bar) {
      firmware.add_option_rom(hidden_rom_name(number), interface.rom);
    }
  }
}

NetCounters::Values Network::counters_of(const Interface& interface) {
  NetCounters::Values values = interface.device->counters().values();
  if (interface.filtered != nullptr) {
    values.received_filtered += interface.filtered->received_filtered();
  }
  if (!interface.at_start) {
    return values;
  }
  // Whoever moves them, packets of a tap pass its counters.
  const std::optional<net::LinkCounters> now = net::link_counters(interface.target);
  return now ? counters_with_vhost(values, *interface.at_start, *now, interface.is_macvtap) : values;
}

std::vector<InterfaceInfo> Network::interfaces() const {
  std::vector<InterfaceInfo> infos;
  infos.reserve(interfaces_.size());
  for (const Interface& interface : interfaces_) {
    infos.push_back(info_of(*interface.device));
    infos.back().name = interface.name;
    infos.back().target = interface.target;
    infos.back().counters = counters_of(interface);
  }
  return infos;
}

const Network::Interface* Network::find(std::string_view name) const {
  const auto found = std::ranges::find(interfaces_, name, &Interface::name);
  return found == interfaces_.end() ? nullptr : &*found;
}

void Network::watch_filter(std::string_view name) {
  if (const Interface* const found = find(name)) {
    found->device->watch_filter();
  }
}

Status Network::set_link(std::string_view name, bool is_up) {
  const Interface* const found = find(name);
  if (found == nullptr) {
    return fail("there is no network interface {}", name);
  }
  found->device->set_link(is_up);
  found->transport.core().config_changed();
  return {};
}

}  // namespace vmm
