// docs/domain-xml.md, written out of the table, so that the two say the same.
#pragma once

#include <string>
#include <string_view>

#include "vmm/domain/element_table.h"

namespace vmm::domain {

// What documents call the answer.
std::string_view answer_name(const Rule& rule);

// A paragraph of plain text.
std::string limits_of_file();

// The whole document, in Markdown.
std::string table_document();

}  // namespace vmm::domain
