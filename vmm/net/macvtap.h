// Macvtap: an interface of the guest's own on top of one of the host's, with which it shares the wire, as a
// NetEnd (Linux's macvlan and macvtap drivers; libvirt's type='direct'). Checksums and segments are the
// kernel's work.
//
// It is made for the guest, has the guest's MAC address, and is deleted with the end. Where vmm is killed it
// stays; the next guest of this name or MAC address deletes it, as far as it can be seen that nobody uses it.
//
// Threads: opened by any; then as NetEnd.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/net/tap.h"

namespace vmm::net {

// Who reaches whom of those at the same interface of the host.
enum class MacvtapMode : uint8_t {
  kVepa,         // by the switch outside only
  kBridge,       // each other, too
  kPrivate,      // nobody
  kPassthrough,  // it has the interface for itself
};

struct MacvtapOptions {
  std::string name{};    // empty: macvtap0 or what is free; at most 15 bytes
  std::string device{};  // the host's interface
  MacvtapMode mode = MacvtapMode::kVepa;
  std::array<std::byte, 6> mac{};
  uint16_t pairs = 1;  // queues, 1 to 256
  uint32_t mtu = 0;    // it is given; 0: what the host's interface has
};

// What is missing on the host: the interface, the kernel's driver, the right to make one. Without a change to
// the host, but that the kernel may load its driver.
Status check_macvtap(const MacvtapOptions& options);

// Errors name the interface and what is missing. The end belongs to the loop.
Result<OpenedTap> open_macvtap(const MacvtapOptions& options, EventLoop& loop);

}  // namespace vmm::net
