// --set beside a domain file. The input: a setting a line, then an empty line, then the file. Where the file
// is right without the settings, what is wrong is said to be theirs; a domain that they give is one that a
// file can say without them.
#include <algorithm>
#include <string_view>

#include "tests/fuzz/input.h"
#include "vmm/domain/load.h"
#include "vmm/domain/write_domain.h"

namespace vmm::domain {
namespace {

std::vector<std::string> take_settings(std::string_view& text) {
  constexpr size_t kMost = 8;
  std::vector<std::string> settings;
  while (settings.size() < kMost) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.empty()) {
      break;
    }
    settings.emplace_back(line.substr(0, line.find('\0')));  // as a command line has it
  }
  return settings;
}

void check_blame(const Reading& reading) {
  bool names_a_setting = false;
  for (const Diagnostic& each : reading.diagnostics) {
    VMM_CHECK(each.line >= 0, "a line is one of the file");
    VMM_CHECK(
        std::ranges::none_of(to_line(each), [](char c) { return static_cast<unsigned char>(c) < 0x20; }),
        "a message has one line, without control characters");
    names_a_setting =
        names_a_setting || (each.severity == Severity::kError && each.file.starts_with("--set "));
  }
  VMM_CHECK(names_a_setting, "a setting is named");
}

void check_print_with(const Domain& domain) {
  const auto text = domain_text(domain);
  VMM_CHECK(text, "what was read can be printed");
  const Reading again = parse_domain(*text, "printed.xml", "/elsewhere");
  VMM_CHECK(again.domain && domain_text(*again.domain).value_or("") == *text,
            "what was printed is read as the same domain");
}

}  // namespace
}  // namespace vmm::domain

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vmm::domain;
  constexpr size_t kShortEnough = size_t{16} << 10U;  // escaped, it is within the limits of a file
  if (size > kShortEnough) {
    return 0;
  }
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto settings = take_settings(text);
  const Reading reading = parse_domain(text, "guest.xml", "/images", settings);
  if (reading.domain) {
    check_print_with(*reading.domain);
  } else if (!settings.empty() && parse_domain(text, "guest.xml", "/images").domain) {
    check_blame(reading);
  }
  return 0;
}
