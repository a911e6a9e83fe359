// Makes the guest's RAM as the domain's <memory> and <memoryBacking> ask.
//
// Threads: main thread, before the guest runs.
#pragma once

#include "vmm/base/error.h"
#include "vmm/core/guest_memory.h"
#include "vmm/domain/domain.h"

namespace vmm {

// RAM that reads as zeroes and costs nothing where it is not touched. Errors: more than the host has, no huge
// pages, locking not allowed; each names the element.
Result<GuestMemory> build_memory(const domain::Domain& domain);

// Gives all of RAM back to the host: it reads as zeroes again. REQUIRES: no vCPU runs and no I/O is in
// flight.
Status discard_memory(const GuestMemory& memory);

}  // namespace vmm
