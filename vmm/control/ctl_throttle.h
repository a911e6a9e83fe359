// `vmm ctl GUEST throttle DISK`: what a disk may do in a second, told and changed, by the names of virsh's
// blkdeviotune.
#pragma once

#include <vector>

#include "vmm/control/ctl_command.h"

namespace vmm::control {

std::vector<CtlOption> throttle_options();

Result<CtlTold> throttle(const CtlRequest& request);

}  // namespace vmm::control
