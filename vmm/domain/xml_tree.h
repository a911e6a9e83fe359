// From the text of a domain file to the elements that vmm has an answer for. The only place that sees an XML
// node.
#pragma once

#include <optional>
#include <string_view>

#include "vmm/domain/element.h"

namespace vmm::domain {

// The <domain> element with all that the table (element_table.h) has as done. What it refuses, what it leaves
// out and what it does not know is reported; and so is malformed XML, then there is nothing to return.
std::optional<Element> read_xml_tree(std::string_view text, Reporter& report);

}  // namespace vmm::domain
