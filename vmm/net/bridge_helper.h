// qemu-bridge-helper: a program of QEMU's that makes a tap in a bridge for somebody who may not do so, where
// the host's owner has made it set-user-ID root, and /etc/qemu/bridge.conf allows the bridge.
//
// Threads: any.
#pragma once

#include <string>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm::net {

// Where QEMU's packages put it; empty: it is not there.
std::string find_bridge_helper();

// A new tap, with IFF_VNET_HDR and one queue, switched on and in the bridge. Waits for the program, at most
// 10 s. Errors have what the program said.
Result<UniqueFd> tap_from_bridge_helper(const std::string& program, const std::string& bridge);

}  // namespace vmm::net
