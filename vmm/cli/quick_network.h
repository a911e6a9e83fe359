// The options of `vmm run` about the guest's network.
//
// Threads: values.
#pragma once

#include <string_view>

#include "vmm/base/error.h"
#include "vmm/domain/quick_domain.h"

namespace vmm::cli {

// --net user|none|tap:NAME|bridge:NAME and --forward [tcp:|udp:][ADDRESS:]PORT:PORT. Errors, of
// ErrorKind::kConfiguration, name the option.
Status read_net(std::string_view text, domain::QuickDomain& quick);
Status read_forward(std::string_view text, domain::QuickDomain& quick);

}  // namespace vmm::cli
