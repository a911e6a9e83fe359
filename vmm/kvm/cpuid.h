// CPUID: what the guest sees of its processor: KVM's supported set, cut down as the domain asks, with the
// topology of the virtual machine in place of the host's.
//
// Standards: Intel SDM volume 2A (CPUID), AMD APM volume 3 appendix E, KVM's paravirtual leaves
// (Documentation/virt/kvm/x86/cpuid.rst). Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/kvm/cpuid_entry.h"
#include "vmm/kvm/kvm.h"

namespace vmm {

struct CpuPlan {
  enum class Mode : uint8_t { kHostPassthrough, kHostModel, kCustom };
  enum class Policy : uint8_t { kForce, kRequire, kOptional, kDisable, kForbid };
  struct Feature {
    std::string name;
    Policy policy = Policy::kRequire;
  };
  // sockets * dies * cores * threads vCPUs, numbered with threads running fastest.
  struct Topology {
    uint32_t sockets = 1;
    uint32_t dies = 1;
    uint32_t cores = 1;
    uint32_t threads = 1;
  };

  Mode mode = Mode::kHostPassthrough;
  std::string model;  // kCustom
  std::vector<Feature> features;
  Topology topology;
  bool migratable = true;  // without what would keep a guest on its host, unless a feature asks for it
  bool hide_kvm = false;
  bool kvmclock = true;
  bool pmu = true;
};

// The local APIC's id of the vCPU with this index: socket, die, core and thread in bit fields of their own
// (Intel SDM 3A, 9.9.3). It is also the id under which KVM knows the vCPU.
uint32_t apic_id(const CpuPlan::Topology& topology, uint32_t index);

// What of a plan cannot be had: an unknown name of a feature or a model, a required feature that the host
// cannot give.
struct CpuFault {
  std::optional<size_t> feature;  // of CpuPlan::features; absent: the model
  Error error;
};

// The CPUID common to all vCPUs.
struct MadeCpuid {
  Cpuid entries;
  std::vector<CpuFault> faults;  // all of them; empty: the entries are what the plan wants
};
// An error: KVM does not tell what it supports.
Result<MadeCpuid> make_cpuid(const Kvm& kvm, const CpuPlan& plan);

// The same with the entries that tell one vCPU from the others.
Cpuid cpuid_of_vcpu(Cpuid common, const CpuPlan& plan, uint32_t index);

// For tests, which have no KVM: the steps on a given supported set.
std::vector<CpuFault> apply_cpu_plan(Cpuid& entries, const CpuPlan& plan, bool has_tsc_deadline);
// The processor's name and AMD's L1 caches, which KVM leaves out of what it supports. host: those of the
// host. A named model has its own name.
void apply_identity(Cpuid& entries, const CpuPlan& plan, const Cpuid& host);
bool cpuid_has_feature(const Cpuid& entries, std::string_view name);

}  // namespace vmm
