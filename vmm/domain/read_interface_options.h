// What an <interface> is like, whatever its host's end is.
#pragma once

#include "vmm/domain/domain.h"
#include "vmm/domain/element.h"

namespace vmm::domain {

// <driver>, <bandwidth>, <filterref>, <link> and <mtu>, of an interface whose type is known.
void read_interface_options(const ReadContext& context, const Element& element, Interface& interface);

}  // namespace vmm::domain
