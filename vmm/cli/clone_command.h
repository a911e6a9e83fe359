// `vmm clone`: a guest made out of another one.
//
// Threads: the main thread.
#pragma once

#include <string>

#include "vmm/base/error.h"

namespace vmm::cli {

// arguments: from "clone" on. Returns what is to be printed. Errors: of ErrorKind::kConfiguration where the
// command line or the domain file is wrong.
Result<std::string> run_clone(int argument_count, char** arguments);

}  // namespace vmm::cli
