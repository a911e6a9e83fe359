// ExitCounters: how often a vCPU came back to vmm, by the reason that KVM gives. What KVM does by itself
// (interrupts of the host, most accesses to the APIC, page faults) is not among them.
//
// Threads: count() on the vCPU's; values() on any.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace vmm {

class ExitCounters {
 public:
  enum Reason : uint8_t {
    kPort,    // an access to an I/O port
    kMmio,    // to memory that is none
    kHalt,    // where KVM does not halt by itself
    kSignal,  // vmm wanted it back
    kOther,
    kReasons,
  };
  static constexpr std::array<std::string_view, kReasons> kNames = {"io", "mmio", "halt", "signal", "other"};
  using Values = std::array<uint64_t, kReasons>;

  void count(Reason reason) {
    std::atomic<uint64_t>& counter = counters_[reason];
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  Values values() const {
    Values values{};
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = counters_[i].load(std::memory_order_relaxed);
    }
    return values;
  }

 private:
  std::array<std::atomic<uint64_t>, kReasons> counters_{};
};

}  // namespace vmm
