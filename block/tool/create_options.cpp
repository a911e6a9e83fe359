#include "block/tool/create_options.h"

#include <cctype>
#include <charconv>
#include <memory>
#include <utility>

#include "vmm/base/option_words.h"

namespace vmm::block::tool {

Result<CreateWords> CreateWords::parse(std::string_view text) {
  CreateWords words;
  if (text.empty()) {
    return words;
  }
  for (const std::string& word : split_option_words(text)) {
    const size_t equals = word.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return fail_configuration("-o takes name=value, and '{}' is none", word);
    }
    words.words_[word.substr(0, equals)] = word.substr(equals + 1);
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

Status CreateWords::expect_empty(std::string_view format) const {
  if (!words_.empty()) {
    return fail_configuration("-o {}: the format {} has no such option here", words_.begin()->first, format);
  }
  return {};
}

Result<uint64_t> parse_size(std::string_view text) {
  constexpr std::string_view kUnits = "bkmgtpe";
  uint64_t number = 0;
  const char* const end = std::to_address(text.end());
  const auto [rest, error] = std::from_chars(std::to_address(text.begin()), end, number);
  const bool has_unit = rest + 1 == end;
  const size_t unit =
      has_unit ? kUnits.find(static_cast<char>(std::tolower(static_cast<unsigned char>(*rest)))) : 0;
  if (error != std::errc() || (rest != end && !has_unit) || unit == std::string_view::npos) {
    return fail_configuration("'{}' is no size: a number of bytes, or of KiB to EiB with k, M, G, T, P or E",
                              text);
  }
  const size_t shift = unit * 10;
  if (number > static_cast<uint64_t>(INT64_MAX) >> shift) {
    return fail_configuration("{} bytes are more than a disk can have", text);
  }
  return number << shift;
}

}  // namespace vmm::block::tool
