#include "vmm/base/printable.h"

#include <cstddef>

namespace vmm {
namespace {

bool is_within(char character, unsigned first, unsigned last) {
  const auto byte = static_cast<unsigned char>(character);
  return byte >= first && byte <= last;
}

// How many bytes the character takes that the text begins with, where it is one to be replaced; else 0.
size_t length_of_unwanted(std::string_view text) {
  if (is_within(text[0], 0, 0x1f) || text[0] == '\x7f') {
    return 1;
  }
  // U+0080 to U+009F: some terminals obey them.
  if (text[0] == '\xc2' && text.size() > 1 && is_within(text[1], 0x80, 0x9f)) {
    return 2;
  }
  if (text[0] != '\xe2' || text.size() < 3) {
    return 0;
  }
  // U+202A to U+202E, U+2066 to U+2069.
  const bool turns = (text[1] == '\x80' && is_within(text[2], 0xaa, 0xae)) ||
                     (text[1] == '\x81' && is_within(text[2], 0xa6, 0xa9));
  return turns ? 3 : 0;
}

std::string without_unwanted(std::string_view text, std::string_view kept) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const bool stays = kept.find(text[0]) != std::string_view::npos;
    const size_t unwanted = stays ? 0 : length_of_unwanted(text);
    result += unwanted == 0 ? text[0] : '?';
    text.remove_prefix(unwanted == 0 ? 1 : unwanted);
  }
  return result;
}

}  // namespace

std::string printable(std::string_view text) { return without_unwanted(text, ""); }

std::string printable_lines(std::string_view text) { return without_unwanted(text, "\n\t"); }

}  // namespace vmm
