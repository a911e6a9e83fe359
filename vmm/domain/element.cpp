#include "vmm/domain/element.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace vmm::domain {

namespace {

constexpr size_t kLongestPath = 4095;  // PATH_MAX, without its NUL

template <typename T>
std::optional<T> parse_all(std::string_view text, int base) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

const Attribute* Element::attribute(std::string_view attribute_name) const {
  const auto found = std::find_if(attributes.begin(), attributes.end(),
                                  [&](const Attribute& each) { return each.name == attribute_name; });
  return found == attributes.end() ? nullptr : &*found;
}

std::string_view Element::value_of(std::string_view attribute_name) const {
  const Attribute* found = attribute(attribute_name);
  return found == nullptr ? std::string_view() : found->value;
}

const Element* Element::child(std::string_view child_name) const {
  const auto found = std::find_if(children.begin(), children.end(),
                                  [&](const Element& each) { return each.name == child_name; });
  return found == children.end() ? nullptr : &*found;
}

bool Element::is_mistaken(std::string_view attribute_name) const {
  return attribute(attribute_name) == nullptr && std::ranges::any_of(mistaken, [&](const std::string& each) {
           return each.empty() || each == attribute_name || attribute(each) != nullptr;
         });
}

bool Element::lacks(std::string_view attribute_name) const {
  return attribute(attribute_name) == nullptr && !is_mistaken(attribute_name);
}

// NOLINTNEXTLINE(misc-no-recursion): scan_xml() has bounded the depth.
bool Element::has_mistakes() const {
  return !mistaken.empty() || has_refused_children || std::ranges::any_of(children, &Element::has_mistakes);
}

std::string Element::place_of(const Attribute& attribute) const {
  return fmt::format("{} {}='{}'>", place.substr(0, place.size() - 1), printable(attribute.name),
                     printable(attribute.value));
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::optional<uint64_t> parse_unsigned(std::string_view text) {
  return parse_all<uint64_t>(trimmed(text), 10);
}

std::optional<int64_t> parse_signed(std::string_view text) { return parse_all<int64_t>(trimmed(text), 10); }

std::optional<uint64_t> parse_address_number(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with("0x") || text.starts_with("0X")) {
    return parse_all<uint64_t>(text.substr(2), 16);
  }
  return parse_all<uint64_t>(text, 10);
}

std::filesystem::path ReadContext::complete(const Element& element, std::string_view path) const {
  if (path.size() <= kLongestPath && printable(path, kLongestPath) != path) {
    report.error(element.line,
                 fmt::format("{}: the path has control characters; rename the file", element.place));
    return {};
  }
  if (path.size() > kLongestPath) {
    report.error(element.line, fmt::format("{}: the path has {} bytes; Linux takes {}", element.place,
                                           path.size(), kLongestPath));
  }
  return base_folder / path;
}

std::optional<uint32_t> read_number(const ReadContext& context, const Element& element,
                                    std::string_view attribute, uint32_t least, uint32_t most) {
  const Attribute* found = element.attribute(attribute);
  if (found == nullptr) {
    return std::nullopt;
  }
  const auto value = parse_unsigned(found->value);
  if (!value || *value < least || *value > most) {
    context.report.error(found->line, fmt::format("{}: give a whole number from {} to {}",
                                                  element.place_of(*found), least, most));
    return std::nullopt;
  }
  return static_cast<uint32_t>(*value);
}

void report_unread_value(const ReadContext& context, const Element& element, const Attribute& attribute) {
  context.report.error(attribute.line,
                       fmt::format("{}: not a value that vmm knows", element.place_of(attribute)));
}

}  // namespace vmm::domain
