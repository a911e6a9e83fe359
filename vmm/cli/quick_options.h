// The options of `vmm run` that stand in place of a domain file.
//
// Threads: values; looks at the files that are named.
#pragma once

#include <string_view>

#include "vmm/base/error.h"
#include "vmm/cli/options.h"

namespace vmm::cli {

extern const char* const kRunHelpText;

// `name`: without its dashes, one of those that getopt's table has as kQuick, or exit-port or netboot.
// Errors, of ErrorKind::kConfiguration, name the option; one is that the command is not `vmm run`. What is
// only doubtful becomes one of options.warnings.
Status read_quick_option(std::string_view name, std::string_view value, Options& options);

// What there is to say when all options are read. Where the guest `runs` now, its files must be there and
// readable, and the host must have its memory.
Status finish_quick_options(const Options& options, bool runs);

}  // namespace vmm::cli
