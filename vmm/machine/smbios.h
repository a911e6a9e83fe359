// The guest's SMBIOS tables, as the domain file wants them, in the words of boot/smbios.h.
//
// Threads: a pure function.
#pragma once

#include "boot/smbios.h"
#include "vmm/domain/domain.h"

namespace vmm {

boot::SmbiosConfig smbios_config(const domain::Domain& domain);

}  // namespace vmm
