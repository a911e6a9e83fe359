#include "vmm/machine/cpu_plan.h"

#include <gtest/gtest.h>

namespace vmm {
namespace {

TEST(CpuPlanOfADomain, IsMigratableAsTheFileSays) {
  domain::Domain domain;
  EXPECT_TRUE(make_cpu_plan(domain).migratable);
  domain.cpu.migratable = false;
  EXPECT_FALSE(make_cpu_plan(domain).migratable);
}

}  // namespace
}  // namespace vmm
