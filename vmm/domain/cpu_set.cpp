#include "vmm/domain/cpu_set.h"

#include <fmt/format.h>

#include <set>

#include "vmm/domain/element.h"

namespace vmm::domain {
namespace {

std::optional<uint32_t> cpu_number(std::string_view text) {
  const auto number = parse_unsigned(text);
  return number && *number < kMaxHostCpus ? std::optional(static_cast<uint32_t>(*number)) : std::nullopt;
}

// False: it is no part of a set.
bool apply_part(std::string_view part, std::set<uint32_t>& cpus) {
  part = trimmed(part);
  if (part.starts_with('^')) {
    const auto left_out = cpu_number(part.substr(1));
    if (left_out) {
      cpus.erase(*left_out);
    }
    return left_out.has_value();
  }
  const size_t dash = part.find('-');
  const auto first = cpu_number(part.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : cpu_number(part.substr(dash + 1));
  if (!first || !last || *last < *first) {
    return false;
  }
  for (uint32_t cpu = *first; cpu <= *last; ++cpu) {
    cpus.insert(cpus.end(), cpu);
  }
  return true;
}

}  // namespace

std::optional<std::vector<uint32_t>> parse_cpu_set(std::string_view text) {
  std::set<uint32_t> cpus;
  while (true) {
    const size_t comma = text.find(',');
    if (!apply_part(text.substr(0, comma), cpus)) {
      return std::nullopt;
    }
    if (comma == std::string_view::npos) {
      break;
    }
    text.remove_prefix(comma + 1);
  }
  return cpus.empty() ? std::nullopt : std::optional(std::vector(cpus.begin(), cpus.end()));
}

std::string cpu_set_text(std::span<const uint32_t> cpus) {
  std::string text;
  for (size_t i = 0; i < cpus.size();) {
    size_t end = i + 1;
    while (end < cpus.size() && cpus[end] == cpus[end - 1] + 1) {
      ++end;
    }
    text += fmt::format("{}{}", text.empty() ? "" : ",", cpus[i]);
    text += end - i > 1 ? fmt::format("-{}", cpus[end - 1]) : "";
    i = end;
  }
  return text;
}

}  // namespace vmm::domain
