// docs/domain-xml.md, written out of the table, so that the two say the same.
#pragma once

#include <string>

namespace vmm::domain {

// The whole document, in Markdown.
std::string table_document();

}  // namespace vmm::domain
