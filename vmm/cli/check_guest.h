// `vmm --check`: all that is wrong with a domain, in its file and with what it wants of this host.
//
// Threads: the main thread, once.
#pragma once

#include "vmm/cli/options.h"

namespace vmm::cli {

// Tells what is wrong. Returns the exit status: 0 nothing (warnings are nothing, without --strict), 1 only
// what the host has or has not, 2 the command line or the file.
int check_guest(const Options& options);

}  // namespace vmm::cli
