#include "vmm/machine/cpu_plan.h"

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

Result<Cpuid> cpuid_of_domain(const domain::Domain& domain, const Kvm& kvm) {
  auto cpuid = make_cpuid(kvm, make_cpu_plan(domain));
  if (!cpuid) {
    return std::unexpected(cpuid.error().within(domain.where(domain.cpu.line)));
  }
  return cpuid;
}

}  // namespace vmm
