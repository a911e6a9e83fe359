// docs/domain-xml.md: what --print and --set are.
#pragma once

#include <string>

namespace vmm::domain {

// In Markdown, out of setting_table() and element_table().
std::string setting_document();

// A line for each setting: its path, and what its values are.
std::string settings_list();

}  // namespace vmm::domain
