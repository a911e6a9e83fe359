#include "block/tool/create_options.h"

#include <utility>

#include "vmm/base/option_words.h"

namespace vmm::block::tool {

Result<CreateWords> CreateWords::parse(std::string_view text) { return parse(text, "-o", true); }

Result<CreateWords> CreateWords::parse_pairs(std::string_view text, std::string_view option) {
  return parse(text, option, false);
}

Result<CreateWords> CreateWords::parse(std::string_view text, std::string_view option, bool has_switches) {
  CreateWords words;
  if (text.empty()) {
    return words;
  }
  for (const std::string& word : split_option_words(text)) {
    const size_t equals = word.find('=');
    if (equals == 0 || word.empty() || (equals == std::string::npos && !has_switches)) {
      return fail_configuration("{} takes name=value, and '{}' is none", option, word);
    }
    words.words_[word.substr(0, equals)] = equals == std::string::npos ? "on" : word.substr(equals + 1);
  }
  return words;
}

std::optional<std::string> CreateWords::take(const std::string& name) {
  auto node = words_.extract(name);
  return node.empty() ? std::nullopt : std::optional(std::move(node.mapped()));
}

Result<std::optional<uint64_t>> CreateWords::take_size(const std::string& name) {
  const auto word = take(name);
  if (!word) {
    return std::nullopt;
  }
  const auto size = parse_size(*word);
  if (!size) {
    return std::unexpected(size.error().within("-o " + name));
  }
  return *size;
}

Result<bool> CreateWords::take_flag(const std::string& name, bool otherwise) {
  const auto word = take(name);
  if (word && *word != "on" && *word != "off") {
    return fail_configuration("-o {}={}: on and off can be", name, *word);
  }
  return word ? *word == "on" : otherwise;
}

std::optional<std::string> CreateWords::first_left() const {
  return words_.empty() ? std::nullopt : std::optional(words_.begin()->first);
}

Status CreateWords::expect_empty(std::string_view format) const {
  if (!words_.empty()) {
    return fail_configuration("-o {}: the format {} has no such option here", words_.begin()->first, format);
  }
  return {};
}

}  // namespace vmm::block::tool
