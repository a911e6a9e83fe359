#include "vmm/base/size.h"

#include <array>
#include <cctype>
#include <charconv>
#include <memory>
#include <system_error>

namespace vmm {

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

std::string size_text(uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.3g} {}", value, kUnits.at(unit));
}

}  // namespace vmm
