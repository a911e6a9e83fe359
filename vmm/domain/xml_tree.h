// From the text of a domain file to the elements that vmm has an answer for. Only this sees XML nodes, and
// what changes a file's XML: settings and clones.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "vmm/domain/element.h"

namespace vmm::domain {

// The <domain> element with all that the table (element_table.h) has as done. What it refuses, what it leaves
// out and what it does not know is reported; and so is malformed XML, then there is nothing to return.
// `settings` are applied before (apply_settings.h).
std::optional<Element> read_xml_tree(std::string_view text, std::span<const std::string> settings,
                                     Reporter& report);

}  // namespace vmm::domain
