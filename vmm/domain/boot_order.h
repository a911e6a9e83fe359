// What firmware is to boot from, out of what the domain file says.
//
// Threads: values.
#pragma once

#include <string_view>
#include <vector>

#include "vmm/domain/domain.h"

namespace vmm::domain {

// First to last: by <boot order=…/>; else the first disk or CD-ROM drive of each kind that <boot dev=…/>
// names. Where none is named that the domain has it is the first disk alone, as in libvirt, and in a domain
// without disks the first CD-ROM drive. Where there is a disc to install from it comes last, behind all
// disks: what it has installed is to start, wherever it is. Before all: the disk with the target `first`,
// where that is not empty.
std::vector<const Disk*> boot_order(const Domain& domain, std::string_view first);

// Either a disk or an interface.
struct BootSource {
  const Disk* disk = nullptr;
  const Interface* interface = nullptr;
  bool operator==(const BootSource&) const = default;
};

// The same with the interfaces to boot from among them: by their numbers, or the first one for <boot
// dev='network'/>. boot_order() is its disks.
std::vector<BootSource> boot_sources(const Domain& domain, std::string_view first);

}  // namespace vmm::domain
