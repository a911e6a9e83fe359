// block_set_io_throttle: what a disk may do in a second, from now on.
//
// Threads: the main loop's.
#pragma once

#include "vmm/control/guest.h"
#include "vmm/control/qmp_arguments.h"
#include "vmm/control/qmp_json.h"

namespace vmm::control {

// QEMU's rules of what goes together. There are no groups of several disks.
Answer set_io_throttle(Guest& guest, const Request& request);

}  // namespace vmm::control
