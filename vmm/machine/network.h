// Network: the domain's <interface>s: each a virtio network device and the host's end of it, on a thread of
// their own. Those of type='user' share one.
//
// Threads: the methods are the main thread's; devices and ends belong to their threads from start() on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "devices/virtio/net.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/core/net_end.h"
#include "vmm/domain/domain.h"
#include "vmm/machine/firmware.h"
#include "vmm/machine/io_thread.h"
#include "vmm/machine/virtio_places.h"

namespace vmm {

// One interface, as it is told to who asks.
struct InterfaceInfo {
  std::string name;    // net0, net1, …: by their order in the file; or its alias
  std::string target;  // of the host's interface; empty: there is none
  virtio::MacAddress mac{};
  bool is_link_up = true;
  virtio::NetFilter filter;
  const virtio::NetCounters* counters = nullptr;
};

class Network {
 public:
  // Null where the domain has no interface. REQUIRES: what is passed outlives it.
  static Result<std::unique_ptr<Network>> create(const domain::Domain& domain, VirtioPlaces& places);
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
  // As if its cable were plugged or not. An error: there is none of this name.
  Status set_link(std::string_view name, bool is_up);

 private:
  struct Interface {
    std::string name;
    std::string target;
    std::vector<std::byte> rom;  // empty: it has none
    bool rom_is_in_bar = true;
    std::unique_ptr<NetEnd> end;
    std::unique_ptr<virtio::VirtioNet> device;
    VirtioTransport transport;
  };

  Network() = default;
  Status add(const domain::Domain& domain, const domain::Interface& wanted, VirtioPlaces& places);
  Result<EventLoop*> loop_for(const domain::Interface& wanted);

  std::vector<std::unique_ptr<IoThread>> threads_;
  IoThread* user_thread_ = nullptr;  // one of them
  std::vector<Interface> interfaces_;
  bool is_quiesced_ = false;
};

}  // namespace vmm
