// `vmm ctl`: a person's hand at a running guest, from another terminal.
//
// Threads: the caller's.
#pragma once

#include <span>
#include <string>

#include "vmm/base/error.h"

namespace vmm::control {

// arguments: what stands behind "ctl". Prints to the standard output. Errors: of ErrorKind::kConfiguration
// where the command line is wrong.
Status run_ctl(std::span<const std::string> arguments);

}  // namespace vmm::control
