#include "vmm/domain/xml_writer.h"

#include <fmt/format.h>

namespace vmm::domain {
namespace {

void append_escaped(char c, std::string& result) {
  switch (c) {
    case '&':
      result += "&amp;";
      break;
    case '<':
      result += "&lt;";
      break;
    case '>':
      result += "&gt;";
      break;
    case '\r':
      result += "&#13;";
      break;
    default:
      result += c;
  }
}

}  // namespace

std::string escaped_text(std::string_view text) {
  std::string result;
  for (const char c : text) {
    append_escaped(c, result);
  }
  return result;
}

std::string escaped_value(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\'') {
      result += "&apos;";
    } else if (c == '\n' || c == '\t') {
      result += fmt::format("&#{};", static_cast<int>(c));
    } else {
      append_escaped(c, result);
    }
  }
  return result;
}

void XmlWriter::begin(std::string_view name, const XmlAttributes& attributes) {
  if (start_tag_is_open_) {
    text_ += ">\n";
    start_tag_is_open_ = false;
  }
  text_ += fmt::format("{}<{}", std::string(2 * open_.size(), ' '), name);
  for (const auto& [attribute, value] : attributes) {
    text_ += fmt::format(" {}='{}'", attribute, escaped_value(value));
  }
}

void XmlWriter::add(std::string_view name, const XmlAttributes& attributes) {
  begin(name, attributes);
  text_ += "/>\n";
}

void XmlWriter::add_text(std::string_view name, std::string_view text, const XmlAttributes& attributes) {
  begin(name, attributes);
  text_ += fmt::format(">{}</{}>\n", escaped_text(text), name);
}

void XmlWriter::open(std::string_view name, const XmlAttributes& attributes) {
  begin(name, attributes);
  open_.emplace_back(name);
  start_tag_is_open_ = true;
}

void XmlWriter::close() {
  const std::string name = std::move(open_.back());
  open_.pop_back();
  text_ += start_tag_is_open_ ? "/>\n" : fmt::format("{}</{}>\n", std::string(2 * open_.size(), ' '), name);
  start_tag_is_open_ = false;
}

}  // namespace vmm::domain
