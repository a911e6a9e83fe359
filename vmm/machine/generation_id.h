// The generation id (<genid>) as the guest finds it: at the start of a page that it can only read, which ACPI
// tells (Microsoft, "Virtual Machine Generation ID", 2012).
//
// A guest that finds another one than before knows that its disks were copied, or went back in time: it makes
// new random numbers and identities.
#pragma once

#include "vmm/base/error.h"
#include "vmm/base/mapping.h"
#include "vmm/domain/domain.h"

namespace vmm {

// The page for this start. The id is the domain's own, or a random one where it has none, or where its disks
// are throwaway: what such a guest does from now on has been done before, by others with the same disks.
// REQUIRES: the domain has a <genid>.
Result<Mapping> make_generation_id_page(const domain::Domain& domain);

}  // namespace vmm
