// Sets of the host's CPUs, as libvirt writes them: "0-3,^2,8".
//
// Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vmm::domain {

inline constexpr uint32_t kMaxHostCpus = 8192;  // that Linux can be built for

// Ascending. Numbers, ranges, and after '^' numbers that an earlier part has and the set has not. Nothing if
// the text is something else, a number is too large, or the set is empty.
std::optional<std::vector<uint32_t>> parse_cpu_set(std::string_view text);

// "0-1,3". REQUIRES: ascending.
std::string cpu_set_text(std::span<const uint32_t> cpus);

}  // namespace vmm::domain
