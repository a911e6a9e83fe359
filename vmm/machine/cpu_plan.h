// The guest's processors as the domain file wants them, in the words of vmm/kvm.
//
// Threads: pure functions.
#pragma once

#include <vector>

#include "vmm/base/error.h"
#include "vmm/domain/domain.h"
#include "vmm/kvm/cpuid.h"
#include "vmm/kvm/kvm.h"

namespace vmm {

CpuPlan make_cpu_plan(const domain::Domain& domain);

// An error where this host's KVM does not give so many. It names the element.
Status check_vcpus(const domain::Domain& domain, const Kvm& kvm);

// All that the domain wants of the processor and cannot have, each with its place in the file.
Result<std::vector<Error>> cpu_faults(const domain::Domain& domain, const Kvm& kvm);

// The CPUID common to all vCPUs. An error: the first of these faults.
Result<Cpuid> cpuid_of_domain(const domain::Domain& domain, const Kvm& kvm);

}  // namespace vmm
