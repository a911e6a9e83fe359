// Tap: a network interface of the host's kernel whose other side is here (tun(4), Linux's
// Documentation/networking/tuntap.rst), as a NetEnd. Checksums and segments are the kernel's work.
//
// Threads: opened by any; then as NetEnd.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/unique_fd.h"
#include "vmm/core/net_end.h"

namespace vmm::net {

struct TapOptions {
  // Of the interface, at most 15 bytes. One that is there is used; else it is made, and goes with the guest.
  // Empty: a new one, vnet0 or what is free.
  std::string name{};
  std::string bridge{};    // the bridge that it is put into; empty: none
  uint16_t pairs = 1;      // queues, 1 to 256
  uint32_t mtu = 0;        // it is given; 0: what it has
  bool is_managed = true;  // else it is there, has all that it needs, and is left as it is
  // The program that makes one in a bridge for who may not (bridge_helper.h); empty: QEMU's, where it is.
  std::string bridge_helper{};
};

struct OpenedTap {
  std::unique_ptr<NetEnd> end;
  std::string name{};
  std::vector<UniqueFd> queues{};  // the same as in `end`, for vhost
};

// What is missing on the host, without a change to it. That it may not be allowed is found by opening only.
Status check_tap(const TapOptions& options);

// Errors name the interface or the bridge, and what is missing. The end belongs to the loop.
Result<OpenedTap> open_tap(const TapOptions& options, EventLoop& loop);

}  // namespace vmm::net
