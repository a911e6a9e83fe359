// The queues of a tap or macvtap as a NetEnd: what has been opened already.
//
// Threads: made by any; then as NetEnd.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/unique_fd.h"
#include "vmm/core/net_end.h"
#include "vmm/net/route_link.h"

namespace vmm::net {

// PacketHeader before each packet, in the byte order of virtio 1.x. name: for the message.
Status set_tap_header(const UniqueFd& fd, const std::string& name);

// The same queues, for somebody else to hold.
Result<std::vector<UniqueFd>> same_queues(const std::vector<UniqueFd>& queues);

// queues: at least one, non-blocking, with set_tap_header() and IFF_VNET_HDR. link: what is deleted with the
// end.
Result<std::unique_ptr<NetEnd>> make_tap_end(EventLoop& loop, std::string name, std::vector<UniqueFd> queues,
                                             MadeLink link = {});

}  // namespace vmm::net
