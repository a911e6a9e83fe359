// --install: a disc in a domain's drive for this run.
//
// Threads: values.
#pragma once

#include <filesystem>

#include "vmm/base/error.h"
#include "vmm/domain/domain.h"

namespace vmm::domain {

// Puts the image into the domain's first CD-ROM drive, whatever that holds, or else into a new one at a free
// place, to be booted first once (Os::install_target). Errors: the domain's machine boots no discs, or has no
// place for a drive.
Status insert_install_disc(Domain& domain, const std::filesystem::path& image);

}  // namespace vmm::domain
