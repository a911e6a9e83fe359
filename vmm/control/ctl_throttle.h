// `vmm ctl GUEST throttle DISK`: what a disk may do in a second, told and changed, by the names of virsh's
// blkdeviotune.
#pragma once

#include <string>
#include <vector>

#include "vmm/control/ctl_command.h"

namespace vmm::control {

// Its options, without dashes; each has a value.
std::vector<std::string> throttle_options();

Result<CtlTold> throttle(const CtlRequest& request);

}  // namespace vmm::control
