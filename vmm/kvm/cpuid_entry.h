// CpuidEntry: what one CPUID leaf (and subleaf) answers.
#pragma once

#include <cstdint>
#include <vector>

namespace vmm {

struct CpuidEntry {
  uint32_t leaf = 0;
  uint32_t subleaf = 0;
  bool has_subleaves = false;  // false: ECX does not matter
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  friend bool operator==(const CpuidEntry&, const CpuidEntry&) = default;
};

using Cpuid = std::vector<CpuidEntry>;

}  // namespace vmm
