// `vmm ctl GUEST stats`: what its CPUs, memory, disks and interfaces do, once or again and again.
#pragma once

#include <vector>

#include "vmm/control/ctl_command.h"

namespace vmm::control {

std::vector<CtlOption> stats_options();

// With --watch it prints by itself, until the guest has ended.
Result<CtlTold> tell_stats(const CtlRequest& request);

}  // namespace vmm::control
