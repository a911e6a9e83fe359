// XML text as people and libvirt write it: two spaces for each level, values in single quotes.
//
// Threads: values.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vmm::domain {

// What the characters of `text` are written as, within an element or in single quotes (XML 1.0, sections 2.4
// and 3.3.3): a reader gets back what is here, the ends of lines in a value included.
std::string escaped_text(std::string_view text);
std::string escaped_value(std::string_view text);

using XmlAttributes = std::vector<std::pair<std::string_view, std::string>>;

class XmlWriter {
 public:
  // <name …/>
  void add(std::string_view name, const XmlAttributes& attributes = {});
  // <name …>text</name>
  void add_text(std::string_view name, std::string_view text, const XmlAttributes& attributes = {});
  // What is added until close() stands in it; where that is nothing, it is <name …/>.
  void open(std::string_view name, const XmlAttributes& attributes = {});
  void close();

  std::string take() { return std::move(text_); }

 private:
  // "  <name a='1'", in a line of its own.
  void begin(std::string_view name, const XmlAttributes& attributes);

  std::string text_;
  std::vector<std::string> open_;
  bool start_tag_is_open_ = false;  // of the innermost element: its '>' is not written
};

}  // namespace vmm::domain
