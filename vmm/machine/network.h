// Network: the domain's <interface>s: each a virtio network device and the host's end of it, on a thread of
// their own. Those of type='user' share one.
//
// Threads: the methods are the main thread's; devices and ends belong to their threads from start() on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "devices/virtio/net.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/core/net_end.h"
#include "vmm/domain/domain.h"
#include "vmm/machine/firmware.h"
#include "vmm/machine/interface_info.h"
#include "vmm/machine/io_thread.h"
#include "vmm/machine/virtio_places.h"
#include "vmm/net/filtered_end.h"
#include "vmm/net/link_counters.h"
#include "vmm/net/vhost_net.h"

namespace vmm {

class Network {
 public:
  // Null where the domain has no interface. on_filter_change: on any thread; see watch_filter(). REQUIRES:
  // what is passed outlives it.
  static Result<std::unique_ptr<Network>> create(
      const domain::Domain& domain, VirtioPlaces& places,
      std::function<void(const std::string& interface)> on_filter_change);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  void start();
  // They leave the guest's memory alone from then on. In turns with resume().
  void quiesce();
  void resume();
  // As VirtioTransport::reset.
  void reset() const;

  // Firmware's name of what boots from the domain's interface `number`, of those from 0; nothing: it has no
  // option ROM.
  std::optional<std::string> boot_path(size_t number) const;
  // Those that the guest does not see at its cards (<rom bar='off'/>).
  void add_option_roms(Firmware& firmware) const;

  std::vector<InterfaceInfo> interfaces() const;
  // When the driver of this one changes next which frames it wants, it is told of, once. At first all are
  // watched.
  void watch_filter(std::string_view name);
  // As if its cable were plugged or not. An error: there is none of this name.
  Status set_link(std::string_view name, bool is_up);

 private:
  struct Interface {
    std::string name;
    std::string target;
    std::vector<std::byte> rom;  // empty: it has none
    bool rom_is_in_bar = true;
    std::unique_ptr<NetEnd> end;
    const net::FilteredEnd* filtered = nullptr;  // within `end`, or none
    std::unique_ptr<net::VhostNet> vhost;        // null: the device moves the packets
    std::optional<net::LinkCounters> at_start;   // of the target, with vhost
    bool is_macvtap = false;
    std::unique_ptr<virtio::VirtioNet> device;
    VirtioTransport transport;
  };

  explicit Network(std::function<void(const std::string& interface)> on_filter_change)
      : on_filter_change_(std::move(on_filter_change)) {}
  const Interface* find(std::string_view name) const;
  static NetCounters::Values counters_of(const Interface& interface);
  Status add(const domain::Domain& domain, const domain::Interface& wanted, VirtioPlaces& places);
  Result<EventLoop*> loop_for(const domain::Interface& wanted);

  const std::function<void(const std::string& interface)> on_filter_change_;
  std::vector<std::unique_ptr<IoThread>> threads_;
  IoThread* user_thread_ = nullptr;  // one of them
  std::vector<Interface> interfaces_;
  bool is_quiesced_ = false;
};

}  // namespace vmm
