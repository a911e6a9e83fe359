// <portForward>: which ports of the host lead to the guest.
//
// Threads: values.
#pragma once

#include <vector>

#include "vmm/domain/domain.h"
#include "vmm/domain/element.h"

namespace vmm::domain {

// All of `interface`'s <portForward>s. Those of the other types are an error.
void read_port_forwards(const ReadContext& context, const Element& element, Interface& interface);

// The ports that are forwarded, without those that are excluded: by `first`, none of them excluded. Of one
// without ranges, with passt, all ports.
std::vector<PortRange> forwarded_ports(const PortForward& forward);

// No port of the host leads to two ports of guests of `domain`.
void check_port_forwards(const ReadContext& context, const Domain& domain);

}  // namespace vmm::domain
