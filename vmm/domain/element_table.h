// The one table of what vmm makes of libvirt's domain format: each element, attribute and value, and the
// answer.
//
// To teach vmm an element: change its rows in element_table.cpp, then read it in one of the read_….cpp files.
// What the table does not name is refused. Threads: constant.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vmm::domain {

enum class Answer : uint8_t {
  kDone,      // has libvirt's meaning
  kSkipped,   // says nothing about the guest; passed over with all inside. An element with a remark: a note
  kHarmless,  // harmless to leave out. Of an element: with all inside; of an attribute or value: it alone
  kLeftOut,  // an attribute or value that makes its whole element harmless to leave out, where no other value
             // of it is refused; silently if without a remark
  kRefused,  // leaving it out would change what the file means; with it its element goes unread
};

// In the order of the table's columns.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct Rule {
  // Names from below <domain> down: "devices/disk/target"; "domain" is the root itself. "devices/*/alias"
  // stands for all devices that have no row of their own for it.
  std::string_view path;
  // "": the row is about the element itself; kTextOf: about the text in it.
  std::string_view attribute;
  // The value that the row is about, several with "|" between them, "pc-i440fx-*" for all that begin like
  // that; "": every value without a row of its own. Of an element: kMany if it may stand more than once in
  // its parent.
  std::string_view value;
  Answer answer = Answer::kDone;
  // kDone: what the value is (may be empty). Otherwise: why, and what to do.
  std::string_view remark;
  // Of what is left out: the first element of a file stands for all that are left out with this remark.
  bool is_told_once = false;
};

// Of the elements in <metadata> that are vmm's own; the table calls them "vmm:…", whatever prefix a file has.
inline constexpr std::string_view kOwnNamespace = "urn:vmm:domain:1";
inline constexpr std::string_view kTextOf = "#text";
inline constexpr std::string_view kMany = "*";

// All rows; those of one path stand together, the element's own first.
std::span<const Rule> element_table();

// The rows of one element, the element's own first; empty if it is unknown.
std::span<const Rule> rules_of(std::string_view path);

// The row for this value of the attribute (or text) among the rows of its element. nullptr: the attribute is
// unknown (known_attribute is false then), or it has no such value.
const Rule* rule_for(std::span<const Rule> rules, std::string_view attribute, std::string_view value,
                     bool& known_attribute);

// "<os>/<type>" of "os/type": without <domain> and <devices>, which say nothing.
std::string display_path(std::string_view path);

// The names of the elements that may stand in `path`, of the attributes, and of the values that vmm does.
std::vector<std::string_view> known_children(std::string_view path);
std::vector<std::string_view> known_attributes(std::span<const Rule> rules);
std::vector<std::string_view> known_values(std::span<const Rule> rules, std::string_view attribute);

// The candidate that `name` is most likely a slip of the pen for; "" if none is near.
std::string_view nearest_name(std::string_view name, std::span<const std::string_view> candidates);

}  // namespace vmm::domain
