// docs/vmm-domain.5, written out of the table, so that the two say the same.
#pragma once

#include <string>

namespace vmm::domain {

// The whole page, for man(1).
std::string table_manual();

}  // namespace vmm::domain
