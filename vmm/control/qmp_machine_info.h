// What QMP tells of the machine's devices: query-chardev, query-pci, x-vmm-query-stats.
//
// Threads: the main loop's.
#pragma once

#include "vmm/control/guest.h"
#include "vmm/control/qmp_arguments.h"
#include "vmm/control/qmp_json.h"

namespace vmm::control {

// Each has the name of its command.
Answer query_chardev(Guest& guest, const Request& request);
Answer query_statistics(Guest& guest, const Request& request);
Answer query_pci(Guest& guest, const Request& request);

}  // namespace vmm::control
