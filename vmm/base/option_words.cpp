#include "vmm/base/option_words.h"

namespace vmm {

std::vector<std::string> split_option_words(std::string_view text) {
  std::vector<std::string> words(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      words.back().push_back(text[i]);
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      words.back().push_back(text[i++]);
    } else {
      words.emplace_back();
    }
  }
  return words;
}

}  // namespace vmm
