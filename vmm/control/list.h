// `vmm list`: the guests of this user that run.
//
// Threads: the caller's.
#pragma once

#include <span>
#include <string>

#include "vmm/base/error.h"

namespace vmm::control {

// arguments: what stands behind "list". The text to be printed: a table, or JSON. Errors: of
// ErrorKind::kConfiguration where the command line is wrong.
Result<std::string> run_list(std::span<const std::string> arguments);

}  // namespace vmm::control
