// Makes the guest's RAM as the domain's <memory> and <memoryBacking> ask.
//
// Threads: main thread, before the guest runs, unless a function says otherwise.
#pragma once

#include <sys/uio.h>

#include "vmm/base/error.h"
#include "vmm/core/guest_memory.h"
#include "vmm/domain/domain.h"

namespace vmm {

// RAM that reads as zeroes and costs nothing where it is not touched. Errors: more than the host has, no huge
// pages, locking not allowed; each names the element.
Result<GuestMemory> build_memory(const domain::Domain& domain);

// Gives pages that the guest does not need back to the host, where <memoryBacking> lets them go: they read as
// zeroes then. `pages` are whole pages of the guest's RAM. Any thread.
void give_back_memory(const domain::MemoryBacking& backing, const iovec& pages);

// Gives all of RAM back to the host: it reads as zeroes again. REQUIRES: no vCPU runs and no I/O is in
// flight.
Status discard_memory(const GuestMemory& memory);

}  // namespace vmm
