// Whether the host's kernel moves an <interface>'s packets (<driver name='vhost'/>), and what is counted
// then.
//
// Threads: the main thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/net_counters.h"
#include "vmm/domain/domain.h"
#include "vmm/net/link_counters.h"
#include "vmm/net/vhost_net.h"

namespace vmm {

// Why vmm will move the packets of an <interface> that asks for vhost, as far as it is seen without its tap.
Status check_vhost(const domain::Interface& wanted);

// Null: vmm moves them. The log says which, and why, where the domain leaves it open or asks for what cannot
// be. tap_queues: none where the other side is no tap. REQUIRES: the memory outlives it.
std::unique_ptr<net::VhostNet> open_vhost(const domain::Domain& domain, const domain::Interface& wanted,
                                          const std::string& name, std::vector<UniqueFd> tap_queues,
                                          const GuestMemory& memory);

// What has passed since `start`: the host's counters know what went by vhost, the device's what vmm dropped.
NetCounters::Values counters_with_vhost(const NetCounters::Values& device, const net::LinkCounters& start,
                                        const net::LinkCounters& now, bool is_macvtap);

}  // namespace vmm
