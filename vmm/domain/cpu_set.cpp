#include "vmm/domain/cpu_set.h"

#include <fmt/format.h>

#include <bitset>

#include "vmm/domain/element.h"

namespace vmm::domain {
namespace {

std::optional<uint32_t> cpu_number(std::string_view text) {
  const auto number = parse_unsigned(text);
  return number && *number < kMaxHostCpus ? std::optional(static_cast<uint32_t>(*number)) : std::nullopt;
}

using CpuBits = std::bitset<kMaxHostCpus>;

// Word by word: a long text of wide ranges must cost no more than its length. REQUIRES: first <= last.
CpuBits range_of(uint32_t first, uint32_t last) {
  return (CpuBits().set() >> (kMaxHostCpus - 1 - (last - first))) << first;
}

// False: it is no part of a set.
bool apply_part(std::string_view part, CpuBits& cpus) {
  part = trimmed(part);
  if (part.starts_with('^')) {
    const auto left_out = cpu_number(part.substr(1));
    if (left_out) {
      cpus.reset(*left_out);
    }
    return left_out.has_value();
  }
  const size_t dash = part.find('-');
  const auto first = cpu_number(part.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : cpu_number(part.substr(dash + 1));
  if (!first || !last || *last < *first) {
    return false;
  }
  if (*first == *last) {
    cpus.set(*first);
  } else {
    cpus |= range_of(*first, *last);
  }
  return true;
}

std::vector<uint32_t> numbers_of(const CpuBits& cpus) {
  std::vector<uint32_t> numbers;
  numbers.reserve(cpus.count());
  for (uint32_t cpu = 0; cpu < kMaxHostCpus; ++cpu) {
    if (cpus[cpu]) {
      numbers.push_back(cpu);
    }
  }
  return numbers;
}

}  // namespace

std::optional<std::vector<uint32_t>> parse_cpu_set(std::string_view text) {
  CpuBits cpus;
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
  return cpus.none() ? std::nullopt : std::optional(numbers_of(cpus));
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
