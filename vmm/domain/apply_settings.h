// --set PATH=VALUE: values of a domain file that are others for one run. The file's XML is changed before the
// tables and the readers see it, so that they check what is set as they check what stands in a file.
//
// Among what is read, what came of a setting has the line -1 (of the first one) and below: a Reporter and
// Domain::where() name the setting then.
#pragma once

#include <tinyxml2.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vmm/domain/diagnostics.h"

namespace vmm::domain {

// The line that an element or an attribute stands in, or the setting that it came of.
class Origins {
 public:
  int line_of(const tinyxml2::XMLElement& element) const { return find(&element, element.GetLineNum()); }
  int line_of(const tinyxml2::XMLAttribute& attribute) const {
    return find(&attribute, attribute.GetLineNum());
  }

  // Of the element or attribute at this address.
  void note(const void* what, int line) { lines_.emplace_back(what, line); }

 private:
  int find(const void* what, int line) const {
    for (const auto& [address, origin] : lines_) {
      line = address == what ? origin : line;
    }
    return line;
  }

  std::vector<std::pair<const void*, int>> lines_;  // what is noted last holds
};

// Each is "PATH=VALUE"; see setting_table.h. `root` is <domain>. Paths that are not known, and values that
// are no values in XML, are reported.
Origins apply_settings(std::span<const std::string> settings, tinyxml2::XMLElement& root, Reporter& report);

}  // namespace vmm::domain
