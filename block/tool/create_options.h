// The -o option of create and convert, and --image-opts: name=value,name=value, where a comma in a value is
// doubled.
//
// Threads: values. Errors name the option.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "vmm/base/error.h"
#include "vmm/base/size.h"

namespace vmm::block::tool {

class CreateWords {
 public:
  // Of -o: a name alone is a switch that is on (lazy_refcounts, as libvirt writes it).
  static Result<CreateWords> parse(std::string_view text);
  // Of another option, whose names all have values.
  static Result<CreateWords> parse_pairs(std::string_view text, std::string_view option);

  // Each value is taken out once it is understood; what remains is not known.
  bool has(const std::string& name) const { return words_.contains(name); }
  std::optional<std::string> take(const std::string& name);
  Result<std::optional<uint64_t>> take_size(const std::string& name);
  Result<bool> take_flag(const std::string& name, bool otherwise);
  std::optional<std::string> first_left() const;
  // Fails where options were given that nobody took.
  Status expect_empty(std::string_view format) const;

 private:
  static Result<CreateWords> parse(std::string_view text, std::string_view option, bool has_switches);

  std::map<std::string, std::string> words_;
};

}  // namespace vmm::block::tool
