#include "vmm/base/size.h"

#include <array>
#include <cctype>
#include <charconv>
#include <memory>
#include <system_error>

namespace vmm {

namespace {

constexpr std::string_view kUnitLetters = "bkmgtpe";
constexpr uint64_t kMostBytes = INT64_MAX;

std::unexpected<Error> no_size(std::string_view text) {
  return fail_configuration("'{}' is no size: a number of bytes, or of KiB to EiB with k, M, G, T, P or E",
                            text);
}

std::unexpected<Error> too_large(std::string_view text) {
  return fail_configuration("{} bytes are more than a disk can have", text);
}

// Of "1.5G" the 5. Digit by digit from the last one, so that nothing grows out of 64 bits: what is below a
// byte of a digit is lost, and so are digits that say less than a byte.
uint64_t fraction_bytes(std::string_view digits, size_t shift) {
  uint64_t bytes = 0;
  for (size_t i = digits.size(); i > 0; --i) {
    const auto digit = static_cast<uint64_t>(digits[i - 1] - '0');
    bytes = ((digit << shift) + bytes) / 10;
  }
  return bytes;
}

}  // namespace

Result<uint64_t> parse_size(std::string_view text) {
  const bool is_hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  std::string_view rest = is_hexadecimal ? text.substr(2) : text;
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(std::to_address(rest.begin()), std::to_address(rest.end()),
                                            number, is_hexadecimal ? 16 : 10);
  if (error == std::errc::result_out_of_range) {
    return too_large(text);
  }
  if (error != std::errc()) {
    return no_size(text);
  }
  rest.remove_prefix(static_cast<size_t>(end - std::to_address(rest.begin())));
  std::string_view fraction;
  const bool has_point = rest.starts_with('.') && !is_hexadecimal;
  if (has_point) {
    fraction = rest.substr(1, rest.substr(1).find_first_not_of("0123456789"));
    rest.remove_prefix(1 + fraction.size());
  }
  const size_t unit =
      rest.empty()
          ? 0
          : kUnitLetters.find(static_cast<char>(std::tolower(static_cast<unsigned char>(rest.front()))));
  if (unit != std::string_view::npos && unit > 0 && rest.substr(1) == "iB") {
    rest = rest.substr(0, 1);
  }
  const bool has_bad_fraction = has_point && (fraction.empty() || unit == 0);
  if (rest.size() > 1 || unit == std::string_view::npos || (is_hexadecimal && !rest.empty()) ||
      has_bad_fraction) {
    return no_size(text);
  }
  const size_t shift = unit * 10;
  if (number > kMostBytes >> shift) {
    return too_large(text);
  }
  const uint64_t bytes = (number << shift) + fraction_bytes(fraction, shift);
  return bytes > kMostBytes ? Result<uint64_t>(too_large(text)) : bytes;
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
