// MachineStatistics: what a guest and its vmm use, as of now.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "vmm/kvm/exit_counters.h"

namespace vmm {

struct MachineStatistics {
  struct Vcpu {
    uint64_t cpu_ns = 0;  // of its thread, in the guest and out of it
    ExitCounters::Values exits{};
  };

  uint64_t now_ns = 0;  // of the steady clock
  uint64_t process_cpu_ns = 0;
  uint64_t resident_bytes = 0;  // of vmm, with what of the guest's memory the host has; 0: not known
  uint64_t memory_bytes = 0;    // the guest's
  std::optional<uint64_t> balloon_bytes;  // of these, what the guest has given back; absent: no balloon
  std::vector<Vcpu> vcpus;
};

}  // namespace vmm
