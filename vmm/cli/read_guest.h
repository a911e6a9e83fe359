// The domain that the command line names, read.
//
// Threads: the main thread's.
#pragma once

#include "vmm/base/error.h"
#include "vmm/cli/options.h"
#include "vmm/domain/load.h"

namespace vmm::cli {

// Makes options.domain_path the domain file's path (find_domain.h), or what messages call the text of
// `vmm run`. Before the others.
Status find_guest(Options& options);

// The domain file, or what `vmm run` has in its place, with --strict; what there is to say of the options of
// `vmm run` is among the diagnostics. Errors: the file cannot be read at all.
Result<domain::Reading> read_guest(const Options& options);

// What other options make of it: the disc to install from, throwaway disks, files of packets, strictness at
// the start. Errors name the option.
Status apply_options(const Options& options, domain::Domain& domain);

}  // namespace vmm::cli
