// docs/domain-xml.md: what --print and --set are.
#pragma once

#include <string>

namespace vmm::domain {

// In Markdown, out of setting_table() and element_table().
std::string setting_document();

}  // namespace vmm::domain
