#include "vmm/net/link_counters.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>

namespace vmm::net {
namespace {

// The columns behind the name.
constexpr size_t kInBytes = 0;
constexpr size_t kInPackets = 1;
constexpr size_t kInDropped = 3;
constexpr size_t kOutBytes = 8;
constexpr size_t kOutPackets = 9;
constexpr size_t kOutDropped = 11;
constexpr size_t kColumns = 16;

std::optional<LinkCounters> counters_in_columns(std::string_view columns) {
  std::array<uint64_t, kColumns> values{};
  for (uint64_t& value : values) {
    columns.remove_prefix(std::min(columns.find_first_not_of(' '), columns.size()));
    const auto [end, error] = std::from_chars(columns.data(), columns.data() + columns.size(), value);
    if (error != std::errc()) {
      return std::nullopt;
    }
    columns.remove_prefix(static_cast<size_t>(end - columns.data()));
  }
  return LinkCounters{
      .received = {.packets = values[kInPackets], .bytes = values[kInBytes], .dropped = values[kInDropped]},
      .sent = {.packets = values[kOutPackets], .bytes = values[kOutBytes], .dropped = values[kOutDropped]}};
}

}  // namespace

std::optional<LinkCounters> link_counters_in(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const size_t start = std::min(line.find_first_not_of(' '), line.size());
    const std::string_view rest = line.substr(start);
    if (rest.starts_with(name) && rest.substr(name.size()).starts_with(':')) {
      return counters_in_columns(rest.substr(name.size() + 1));
    }
  }
  return std::nullopt;
}

std::optional<LinkCounters> link_counters(const std::string& name) {
  std::ifstream file("/proc/thread-self/net/dev");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return link_counters_in(text, name);
}

}  // namespace vmm::net
