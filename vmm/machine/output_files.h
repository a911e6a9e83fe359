// Files that vmm writes by itself (logs, consoles) must not be those that the guest is made of.
//
// Threads: any.
#pragma once

#include <filesystem>

#include "vmm/base/error.h"
#include "vmm/domain/domain.h"

namespace vmm {

// An error where `path` is the domain file, the kernel, the initrd, the firmware or a disk image of the
// domain, by whatever name. What is not there yet is none of them.
Status refuse_as_output(const domain::Domain& domain, const std::filesystem::path& path);

}  // namespace vmm
