// Element: what is left of an XML element once the table has had its say: known names only, in plain values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/domain/diagnostics.h"

namespace vmm::domain {

struct Attribute {
  std::string name;
  std::string value;
  int line = 0;
};

struct Element {
  std::string name;
  std::string place;  // "<disk>/<target>", for messages
  int line = 0;
  std::string text;  // without the white space around it
  std::vector<Attribute> attributes;
  std::vector<Element> children;
  // A child was refused, and that has been reported: what seems to be missing may be just that.
  bool has_refused_children = false;
  // What seems to be missing may have been meant by one of these: the names that are nearest to an unknown
  // attribute, or to that of an unknown value. "": nobody knows which; and so where the nearest one is there
  // too.
  std::vector<std::string> mistaken;

  const Attribute* attribute(std::string_view attribute_name) const;
  // "" if there is no such attribute.
  std::string_view value_of(std::string_view attribute_name) const;
  const Element* child(std::string_view child_name) const;
  // The attribute is not there, and may be what a mistake was meant for.
  bool is_mistaken(std::string_view attribute_name) const;
  // It is neither there nor a mistake: what has to be said is that it is missing.
  bool lacks(std::string_view attribute_name) const;
  // In it, or in one that stands in it: what is read of it may not be what was meant.
  bool has_mistakes() const;
  // "<disk>/<target bus='usb'>"
  std::string place_of(const Attribute& attribute) const;
};

// A plain decimal number, white space around it allowed; nothing if it is something else or does not fit.
std::optional<uint64_t> parse_unsigned(std::string_view text);
std::optional<int64_t> parse_signed(std::string_view text);
// The same, or hexadecimal after "0x", as in addresses.
std::optional<uint64_t> parse_address_number(std::string_view text);
std::string_view trimmed(std::string_view text);

// What the functions that read one part of a domain need.
struct ReadContext {
  Reporter& report;
  const std::filesystem::path& base_folder;

  // The path that `element` names; a relative one is taken relative to the folder of the file. An error where
  // a terminal or a log would not show it as it is.
  std::filesystem::path complete(const Element& element, std::string_view path) const;
};

// The number in the attribute if it is there and from `least` to `most`; otherwise nothing, and an error for
// what is not.
std::optional<uint32_t> read_number(const ReadContext& context, const Element& element,
                                    std::string_view attribute, uint32_t least, uint32_t most);

template <typename T>
struct Choice {
  std::string_view name;
  T value;
};

void report_unread_value(const ReadContext& context, const Element& element, const Attribute& attribute);

// The value that the attribute names; `otherwise` if the attribute is not there.
template <typename T>
T read_choice(const ReadContext& context, const Element& element, std::string_view attribute, T otherwise,
              std::initializer_list<Choice<T>> choices) {
  const Attribute* found = element.attribute(attribute);
  if (found == nullptr) {
    return otherwise;
  }
  for (const auto& choice : choices) {
    if (choice.name == found->value) {
      return choice.value;
    }
  }
  report_unread_value(context, element, *found);
  return otherwise;
}

inline bool read_flag(const ReadContext& context, const Element& element, std::string_view attribute,
                      bool otherwise) {
  return read_choice<bool>(context, element, attribute, otherwise,
                           {{"on", true}, {"yes", true}, {"off", false}, {"no", false}});
}

}  // namespace vmm::domain
