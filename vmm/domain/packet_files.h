// --dump-net: files of the packets of a domain's interfaces, for this run.
//
// Threads: values.
#pragma once

#include <cstddef>
#include <string>

#include "vmm/base/error.h"
#include "vmm/domain/domain.h"

namespace vmm::domain {

// What the interface is called where it is spoken of: its alias, or net0, net1, … by its place in the file.
// REQUIRES: index < domain.interfaces.size().
std::string interface_name(const Domain& domain, size_t index);

// One interface's packets go to `file`; of several, each has a file of its own, with the interface's name
// before the ending (packets-net0.pcap). Relative paths become absolute. Errors, of
// ErrorKind::kConfiguration, name the option: there is no interface, or such a file is there already and has
// something in it. Pipes and character devices, which lose nothing, may be there.
Status set_packet_files(Domain& domain, const std::string& file);

}  // namespace vmm::domain
