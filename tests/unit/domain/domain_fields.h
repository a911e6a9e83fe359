// What a domain holds, field by field: two domains are the same where these are. Lines are left out, and what
// a domain file does not say.
#pragma once

#include <map>
#include <string>

#include "vmm/domain/domain.h"

namespace vmm::domain::testing {

// "disks[1].cache" -> "3"
using DomainFields = std::map<std::string, std::string>;

DomainFields fields_of(const Domain& domain);

}  // namespace vmm::domain::testing
