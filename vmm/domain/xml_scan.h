// A first look at a domain file's bytes, before an XML parser sees them: what would make a parser slow, or
// what it would pass over without a word, is refused here.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace vmm::domain {

inline constexpr int kMaxDepth = 96;                         // elements within elements; tinyxml2 takes 100
inline constexpr int kMaxAttributes = 64;                    // of one element
inline constexpr size_t kMaxValueBytes = size_t{64} * 1024;  // of one attribute

struct ScanFault {
  int line = 0;
  std::string text;
};

// The first fault: not UTF-8, characters that XML does not allow (XML 1.0, section 2.2), DOCTYPE and entities
// of its own, references to what is not there, too deep, too many attributes, too long ones. Takes time in
// proportion to the length. Malformed text may pass: the parser refuses that.
std::optional<ScanFault> scan_xml(std::string_view text);

}  // namespace vmm::domain
