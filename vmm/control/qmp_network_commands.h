// What QMP says of network interfaces: set_link, query-rx-filter, and their part of x-vmm-query-stats.
//
// Threads: the main loop's.
#pragma once

#include "vmm/control/guest.h"
#include "vmm/control/qmp_arguments.h"
#include "vmm/control/qmp_json.h"

namespace vmm::control {

Json interface_stats(const Guest& guest);

// Each has the name of its command.
Answer set_link(Guest& guest, const Request& request);
Answer query_rx_filter(Guest& guest, const Request& request);

}  // namespace vmm::control
