// Domain files to begin with, which vmm has inside (--print-example): those of the same names in configs/,
// with other paths.
//
// Threads: constant.
#pragma once

#include <string>
#include <string_view>

#include "vmm/base/error.h"

namespace vmm::cli {

// Its images, and what else it names, are in `folder`, an absolute path: libvirt's schema has no relative
// ones. An error, of the command line, names the examples that there are.
Result<std::string> example_domain(std::string_view name, std::string_view folder);

}  // namespace vmm::cli
