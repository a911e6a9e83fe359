// Runs one guest as the command line says, from its domain file to its end.
//
// Threads: the main thread, once.
#pragma once

#include <string>

#include "vmm/base/error.h"
#include "vmm/cli/exit_status.h"
#include "vmm/cli/options.h"
#include "vmm/machine/machine.h"

namespace vmm::cli {

// Errors: what is wrong with the command line or the domain file is of ErrorKind::kConfiguration; all else is
// the host's. `report` is filled as far as the run came.
Result<MachineEnd> run_guest(const Options& options, GuestReport& report);

// --print: the text of a domain file that is what would run; of `vmm run` without --set as a person would
// write it, else in full (write_domain.h). Its reader takes it; it may warn again of what the guest lacks.
Result<std::string> printed_domain(const Options& options);

// --set help: a line for each thing that can be set.
std::string printed_settings();

}  // namespace vmm::cli
