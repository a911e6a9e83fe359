// Domain files to begin with, which vmm has inside (--print-example): those of the same names in configs/.
//
// Threads: constant.
#pragma once

#include <string>
#include <string_view>

#include "vmm/base/error.h"

namespace vmm::cli {

// An error, of the command line, names those that there are.
Result<std::string> example_domain(std::string_view name);

}  // namespace vmm::cli
