#include "vmm/machine/cpu_plan.h"

#include <utility>

namespace vmm {
namespace {

CpuPlan::Policy to_policy(domain::FeaturePolicy policy) {
  switch (policy) {
    case domain::FeaturePolicy::kForce:
      return CpuPlan::Policy::kForce;
    case domain::FeaturePolicy::kRequire:
      return CpuPlan::Policy::kRequire;
    case domain::FeaturePolicy::kOptional:
      return CpuPlan::Policy::kOptional;
    case domain::FeaturePolicy::kDisable:
      return CpuPlan::Policy::kDisable;
    case domain::FeaturePolicy::kForbid:
      return CpuPlan::Policy::kForbid;
  }
  return CpuPlan::Policy::kRequire;
}

CpuPlan::Mode to_mode(domain::CpuMode mode) {
  switch (mode) {
    case domain::CpuMode::kHostPassthrough:
      return CpuPlan::Mode::kHostPassthrough;
    case domain::CpuMode::kHostModel:
      return CpuPlan::Mode::kHostModel;
    case domain::CpuMode::kCustom:
      return CpuPlan::Mode::kCustom;
  }
  return CpuPlan::Mode::kHostPassthrough;
}

// With the lines of the domain file that want it.
std::vector<Error> located(const domain::Domain& domain, const std::vector<CpuFault>& faults) {
  std::vector<Error> errors;
  errors.reserve(faults.size());
  for (const CpuFault& fault : faults) {
    const int line = fault.feature ? domain.cpu.features[*fault.feature].line : domain.cpu.line;
    errors.push_back(fault.error.within(domain.where(line)));
  }
  return errors;
}

}  // namespace

CpuPlan make_cpu_plan(const domain::Domain& domain) {
  CpuPlan plan;
  plan.mode = to_mode(domain.cpu.mode);
  plan.model = domain.cpu.model;
  for (const domain::CpuFeature& feature : domain.cpu.features) {
    plan.features.push_back({feature.name, to_policy(feature.policy)});
  }
  const domain::CpuTopology& topology = domain.topology;
  plan.topology = {topology.sockets, topology.dies, topology.cores, topology.threads};
  plan.migratable = domain.cpu.migratable;
  plan.hide_kvm = domain.features.hide_kvm;
  plan.kvmclock = domain.clock.kvmclock;
  plan.pmu = domain.features.pmu;
  return plan;
}

Status check_vcpus(const domain::Domain& domain, const Kvm& kvm) {
  if (domain.vcpus > kvm.max_vcpus()) {
    return fail("{}: <vcpu>: the guest wants {} vCPUs, this host's KVM gives at most {}",
                domain.where(domain.vcpus_line), domain.vcpus, kvm.max_vcpus());
  }
  return {};
}

Result<std::vector<Error>> cpu_faults(const domain::Domain& domain, const Kvm& kvm) {
  VMM_ASSIGN_OR_RETURN(const MadeCpuid made, make_cpuid(kvm, make_cpu_plan(domain)));
  return located(domain, made.faults);
}

Result<Cpuid> cpuid_of_domain(const domain::Domain& domain, const Kvm& kvm) {
  VMM_ASSIGN_OR_RETURN(MadeCpuid made, make_cpuid(kvm, make_cpu_plan(domain)));
  if (!made.faults.empty()) {
    return std::unexpected(located(domain, made.faults).front());
  }
  return std::move(made.entries);
}

}  // namespace vmm
