#include "vmm/kvm/cpuid.h"

#include <gtest/gtest.h>

#include <set>

#include "vmm/kvm/cpu_features.h"

namespace vmm {
namespace {

// A host that can do everything.
Cpuid full_host() {
  Cpuid cpuid;
  cpuid.push_back({.leaf = 0, .eax = 0x7});
  cpuid.push_back({.leaf = 1, .ebx = 0x12ff0800, .ecx = ~0U, .edx = ~0U});
  cpuid.push_back({.leaf = 4, .subleaf = 0, .has_subleaves = true, .eax = 0x1c004121});
  cpuid.push_back({.leaf = 4, .subleaf = 3, .has_subleaves = true, .eax = 0x1c03c163});
  cpuid.push_back({.leaf = 7, .subleaf = 0, .has_subleaves = true, .ebx = ~0U, .ecx = ~0U, .edx = ~0U});
  cpuid.push_back({.leaf = 7, .subleaf = 1, .has_subleaves = true, .eax = ~0U});
  cpuid.push_back({.leaf = 0xa, .eax = 0x07300402});
  cpuid.push_back({.leaf = 0xd, .subleaf = 0, .has_subleaves = true, .eax = 7});
  cpuid.push_back({.leaf = 0xd, .subleaf = 1, .has_subleaves = true, .eax = 0xf});
  cpuid.push_back({.leaf = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b, .ecx = 0x564b4d56, .edx = 0x4d});
  cpuid.push_back({.leaf = 0x40000001, .eax = ~0U});
  cpuid.push_back({.leaf = 0x80000001, .ecx = ~0U, .edx = ~0U});
  cpuid.push_back({.leaf = 0x80000007, .edx = ~0U});
  cpuid.push_back({.leaf = 0x80000008, .eax = 0x3030, .ebx = ~0U, .ecx = 0x700f});
  cpuid.push_back({.leaf = 0x8000001d, .subleaf = 3, .has_subleaves = true, .eax = 0x3c163});
  cpuid.push_back({.leaf = 0x8000001e, .eax = 99});
  return cpuid;
}

const CpuidEntry* entry_of(const Cpuid& cpuid, uint32_t leaf, uint32_t subleaf = 0) {
  for (const CpuidEntry& entry : cpuid) {
    if (entry.leaf == leaf && (!entry.has_subleaves || entry.subleaf == subleaf)) {
      return &entry;
    }
  }
  return nullptr;
}

Cpuid planned(const CpuPlan& plan) {
  Cpuid cpuid = full_host();
  const auto faults = apply_cpu_plan(cpuid, plan, true);
  EXPECT_TRUE(faults.empty()) << faults.front().error.message();
  return cpuid;
}

std::string error_of(Cpuid host, const CpuPlan& plan) {
  const auto faults = apply_cpu_plan(host, plan, true);
  return faults.empty() ? "" : faults.front().error.message();
}

TEST(Cpuid, GuestAlwaysSeesHypervisorX2apicAndDeadlineTimer) {
  Cpuid bare = full_host();
  for (CpuidEntry& entry : bare) {
    if (entry.leaf == 1) {
      entry.ecx = 0;
    }
  }
  ASSERT_TRUE(apply_cpu_plan(bare, {}, true).empty());
  EXPECT_TRUE(cpuid_has_feature(bare, "hypervisor"));
  EXPECT_TRUE(cpuid_has_feature(bare, "x2apic"));
  EXPECT_TRUE(cpuid_has_feature(bare, "tsc-deadline"));
}

TEST(Cpuid, NoDeadlineTimerWhereKvmHasNone) {
  Cpuid cpuid = full_host();
  ASSERT_TRUE(apply_cpu_plan(cpuid, {}, false).empty());
  EXPECT_FALSE(cpuid_has_feature(cpuid, "tsc-deadline"));
}

class DisabledFeature : public ::testing::TestWithParam<const char*> {};

TEST_P(DisabledFeature, IsGone) {
  EXPECT_TRUE(cpuid_has_feature(planned({}), GetParam()));
  CpuPlan plan;
  plan.features = {{GetParam(), CpuPlan::Policy::kDisable}};
  EXPECT_FALSE(cpuid_has_feature(planned(plan), GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Names, DisabledFeature,
                         ::testing::Values("cx16", "popcnt", "xsave", "smap", "avx2", "nx", "pdpe1gb",
                                           "clzero", "xsaveopt", "fsrm", "kvmclock"));

TEST(Cpuid, WithoutXsaveNothingThatNeedsItIsLeft) {
  CpuPlan plan;
  plan.features = {{"xsave", CpuPlan::Policy::kDisable}};
  const Cpuid cpuid = planned(plan);
  for (const char* name : {"avx", "avx2", "fma", "avx512f", "avx512vl", "pku", "vaes", "xop"}) {
    EXPECT_FALSE(cpuid_has_feature(cpuid, name)) << name;
  }
  EXPECT_EQ(entry_of(cpuid, 0xd), nullptr);
  EXPECT_TRUE(cpuid_has_feature(cpuid, "sse4.2"));
}

TEST(Cpuid, AmdsCopyOfABitGoesWithIt) {
  CpuPlan plan;
  plan.features = {{"mmx", CpuPlan::Policy::kDisable}};
  EXPECT_EQ(entry_of(planned(plan), 0x80000001)->edx >> 23 & 1, 0U);
}

TEST(Cpuid, RequiredFeatureThatTheHostLacksIsAnErrorWithItsName) {
  Cpuid host = full_host();
  for (CpuidEntry& entry : host) {
    if (entry.leaf == 7 && entry.subleaf == 0) {
      entry.ebx &= ~(1U << 16);
    }
  }
  CpuPlan plan;
  plan.features = {{"avx512f", CpuPlan::Policy::kRequire}};
  EXPECT_NE(error_of(host, plan).find("avx512f"), std::string::npos);
  plan.features = {{"avx512f", CpuPlan::Policy::kOptional}};
  EXPECT_EQ(error_of(host, plan), "");
  plan.features = {{"avx512f", CpuPlan::Policy::kForce}};
  ASSERT_TRUE(apply_cpu_plan(host, plan, true).empty());
  EXPECT_TRUE(cpuid_has_feature(host, "avx512f"));
}

TEST(Cpuid, ForbiddenFeatureThatTheHostHasIsAnError) {
  CpuPlan plan;
  plan.features = {{"avx", CpuPlan::Policy::kForbid}};
  EXPECT_NE(error_of(full_host(), plan).find("forbid"), std::string::npos);
}

TEST(Cpuid, UnknownNamesAreRefused) {
  CpuPlan plan;
  plan.features = {{"warp-drive", CpuPlan::Policy::kDisable}};
  EXPECT_NE(error_of(full_host(), plan).find("warp-drive"), std::string::npos);
  plan = {.mode = CpuPlan::Mode::kCustom, .model = "Z80"};
  EXPECT_NE(error_of(full_host(), plan).find("Z80"), std::string::npos);
}

TEST(Cpuid, NamedModelHasItsFeaturesAndNoOthers) {
  const Cpuid cpuid = planned({.mode = CpuPlan::Mode::kCustom, .model = "Nehalem"});
  EXPECT_TRUE(cpuid_has_feature(cpuid, "sse4.2"));
  EXPECT_TRUE(cpuid_has_feature(cpuid, "popcnt"));
  EXPECT_FALSE(cpuid_has_feature(cpuid, "avx"));
  EXPECT_FALSE(cpuid_has_feature(cpuid, "aes"));
  EXPECT_TRUE(cpuid_has_feature(cpuid, "hypervisor"));
  EXPECT_TRUE(cpuid_has_feature(cpuid, "kvmclock"));
}

TEST(Cpuid, NamedModelTakesFeaturesThatAreAskedForBeside) {
  const Cpuid cpuid =
      planned({.mode = CpuPlan::Mode::kCustom,
               .model = "Nehalem",
               .features = {{"aes", CpuPlan::Policy::kRequire}, {"popcnt", CpuPlan::Policy::kDisable}}});
  EXPECT_TRUE(cpuid_has_feature(cpuid, "aes"));
  EXPECT_FALSE(cpuid_has_feature(cpuid, "popcnt"));
}

TEST(Cpuid, VariantOfAModelHasItsFeaturesAndAFewMore) {
  const auto model = cpu_model_features("Haswell-noTSX").value();
  auto variant = cpu_model_features("Haswell-noTSX-IBRS").value();
  EXPECT_EQ(variant.back(), "spec-ctrl");
  variant.pop_back();
  EXPECT_EQ(variant, model);
}

TEST(Cpuid, EveryVariantAddsToTheModelThatItIsNamedAfter) {
  for (const auto& [name, base] :
       std::vector<std::pair<std::string, std::string>>{{"Nehalem-IBRS", "Nehalem"},
                                                        {"Westmere-IBRS", "Westmere"},
                                                        {"SandyBridge-IBRS", "SandyBridge"},
                                                        {"IvyBridge-IBRS", "IvyBridge"},
                                                        {"Haswell-IBRS", "Haswell"},
                                                        {"Broadwell-noTSX-IBRS", "Broadwell-noTSX"},
                                                        {"Broadwell-IBRS", "Broadwell"},
                                                        {"Skylake-Client-IBRS", "Skylake-Client"},
                                                        {"Skylake-Server-IBRS", "Skylake-Server"},
                                                        {"Cascadelake-Server", "Cascadelake-Server-noTSX"},
                                                        {"Icelake-Server", "Icelake-Server-noTSX"},
                                                        {"EPYC-IBPB", "EPYC"}}) {
    const auto variant = cpu_model_features(name).value();
    const auto model = cpu_model_features(base).value();
    EXPECT_GT(variant.size(), model.size()) << name;
    EXPECT_TRUE(std::equal(model.begin(), model.end(), variant.begin())) << name;
  }
}

TEST(Cpuid, AllThatCannotBeHadIsToldAtOnce) {
  Cpuid host = full_host();
  for (CpuidEntry& entry : host) {
    if (entry.leaf == 1) {
      entry.ecx = 0;
    }
  }
  const auto faults = apply_cpu_plan(host,
                                     {.mode = CpuPlan::Mode::kCustom,
                                      .model = "Nehalem",
                                      .features = {{"foo", CpuPlan::Policy::kRequire},
                                                   {"avx2", CpuPlan::Policy::kRequire},
                                                   {"bar", CpuPlan::Policy::kOptional},
                                                   {"rdctl-no", CpuPlan::Policy::kOptional},
                                                   {"vmx-ept", CpuPlan::Policy::kRequire}}},
                                     true);
  ASSERT_EQ(faults.size(), 4U);
  EXPECT_FALSE(faults[0].feature);
  EXPECT_NE(faults[0].error.message().find("cannot give the features 'pni', "), std::string::npos)
      << faults[0].error.message();
  EXPECT_EQ(faults[1].feature, 0U);
  EXPECT_EQ(faults[2].feature, 2U);
  EXPECT_EQ(faults[3].feature, 4U);
  EXPECT_NE(faults[3].error.message().find("is as KVM gives it"), std::string::npos);
}

TEST(Cpuid, EveryModelNamesKnownFeaturesOnly) {
  for (const std::string_view model : cpu_model_names()) {
    const auto features = cpu_model_features(model);
    ASSERT_TRUE(features) << model;
    for (const std::string_view feature : *features) {
      EXPECT_NE(find_cpu_feature(feature), nullptr) << model << " " << feature;
    }
  }
}

using enum CpuPlan::Policy;

TEST(Cpuid, OfAMigratableGuestHasNoInvariantTsc) {
  const Cpuid migratable = planned({.migratable = true});
  const Cpuid not_migratable = planned({.migratable = false});
  EXPECT_FALSE(cpuid_has_feature(migratable, "invtsc"));
  EXPECT_TRUE(cpuid_has_feature(not_migratable, "invtsc"));
  for (const CpuFeatureBit& feature : cpu_features()) {
    EXPECT_TRUE(feature.name == "invtsc" || cpuid_has_feature(migratable, feature.name) ==
                                                cpuid_has_feature(not_migratable, feature.name))
        << feature.name;
  }
}

TEST(Cpuid, InvariantTscIsThereWhereAFeatureAsksForIt) {
  for (const CpuPlan::Policy policy : {kForce, kRequire, kOptional}) {
    EXPECT_TRUE(cpuid_has_feature(planned({.features = {{"invtsc", policy}}}), "invtsc"));
    EXPECT_TRUE(cpuid_has_feature(
        planned({.mode = CpuPlan::Mode::kHostModel, .features = {{"invtsc", policy}}}), "invtsc"));
  }
  EXPECT_FALSE(
      cpuid_has_feature(planned({.features = {{"invtsc", kDisable}}, .migratable = false}), "invtsc"));
  EXPECT_NE(error_of(full_host(), {.features = {{"invtsc", kForbid}}}), "");  // it is the host that counts
}

TEST(Cpuid, HiddenKvmLeavesNoKvmLeaf) {
  const Cpuid cpuid = planned({.hide_kvm = true});
  EXPECT_EQ(entry_of(cpuid, 0x40000000), nullptr);
  EXPECT_EQ(entry_of(cpuid, 0x40000001), nullptr);
}

TEST(Cpuid, WithoutKvmclockNoneOfItsBitsIsLeft) {
  EXPECT_EQ(entry_of(planned({.kvmclock = false}), 0x40000001)->eax & 0x01000009, 0U);
}

TEST(CpuidTopology, ApicIdsAreUniqueAndInBitFields) {
  const CpuPlan::Topology topology{.sockets = 2, .dies = 2, .cores = 3, .threads = 2};
  std::set<uint32_t> ids;
  for (uint32_t i = 0; i < 24; ++i) {
    ids.insert(apic_id(topology, i));
  }
  EXPECT_EQ(ids.size(), 24U);
  EXPECT_EQ(apic_id(topology, 0), 0U);
  EXPECT_EQ(apic_id(topology, 1), 1U);    // thread
  EXPECT_EQ(apic_id(topology, 2), 2U);    // core: bit 1 and 2
  EXPECT_EQ(apic_id(topology, 6), 8U);    // die: bit 3
  EXPECT_EQ(apic_id(topology, 12), 16U);  // socket: bit 4
}

TEST(CpuidTopology, LeafBTellsThreadsAndCores) {
  const Cpuid cpuid = planned({.topology = {.sockets = 1, .dies = 1, .cores = 3, .threads = 2}});
  EXPECT_GE(entry_of(cpuid, 0)->eax, 0xbU);
  const CpuidEntry* threads = entry_of(cpuid, 0xb, 0);
  const CpuidEntry* cores = entry_of(cpuid, 0xb, 1);
  EXPECT_EQ(threads->eax, 1U);
  EXPECT_EQ(threads->ebx, 2U);
  EXPECT_EQ(threads->ecx, 0x100U);
  EXPECT_EQ(cores->eax, 3U);
  EXPECT_EQ(cores->ebx, 6U);
  EXPECT_EQ(cores->ecx, 0x201U);
  EXPECT_EQ(entry_of(cpuid, 0xb, 2)->ebx, 0U);
}

TEST(CpuidTopology, EachVcpuKnowsItself) {
  const CpuPlan plan{.topology = {.sockets = 2, .dies = 1, .cores = 2, .threads = 1}};
  const Cpuid common = planned(plan);
  for (uint32_t i = 0; i < 4; ++i) {
    const Cpuid own = cpuid_of_vcpu(common, plan, i);
    const uint32_t id = apic_id(plan.topology, i);
    EXPECT_EQ(entry_of(own, 1)->ebx >> 24, id);
    EXPECT_EQ(entry_of(own, 0xb, 0)->edx, id);
    EXPECT_EQ(entry_of(own, 0xb, 1)->edx, id);
    EXPECT_EQ(entry_of(own, 0x8000001e)->eax, id);
  }
}

TEST(CpuidTopology, OneCpuIsNoMultiProcessor) {
  const Cpuid one = planned({});
  EXPECT_EQ(entry_of(one, 1)->edx >> 28 & 1, 0U);
  EXPECT_EQ(entry_of(one, 1)->ebx >> 16 & 0xff, 1U);
  const Cpuid two = planned({.topology = {.sockets = 1, .dies = 1, .cores = 2, .threads = 1}});
  EXPECT_EQ(entry_of(two, 1)->edx >> 28 & 1, 1U);
  EXPECT_EQ(entry_of(two, 0x80000008)->ecx & 0xff, 1U);
}

TEST(CpuidTopology, ThreadsOnAmdAreToldWhereAmdTellsThem) {
  Cpuid cpuid;
  cpuid.push_back({.leaf = 0, .eax = 0xd, .ebx = 0x68747541, .ecx = 0x444d4163, .edx = 0x69746e65});
  cpuid.push_back({.leaf = 1});
  cpuid.push_back({.leaf = 0x80000000, .eax = 0x80000008});
  cpuid.push_back({.leaf = 0x80000001});
  const CpuPlan plan{.topology = {.sockets = 1, .dies = 1, .cores = 1, .threads = 2}};
  ASSERT_TRUE(apply_cpu_plan(cpuid, plan, true).empty());
  EXPECT_TRUE(cpuid_has_feature(cpuid, "topoext"));
  EXPECT_EQ(entry_of(cpuid, 0x80000000)->eax, 0x8000001eU);
  const Cpuid second = cpuid_of_vcpu(cpuid, plan, 1);
  EXPECT_EQ(entry_of(second, 0x8000001e)->eax, 1U);      // its own id
  EXPECT_EQ(entry_of(second, 0x8000001e)->ebx, 0x100U);  // two threads, of core 0
}

TEST(CpuidTopology, DiesOnAmdAreToldWhereSystemsLookForThem) {
  Cpuid cpuid;
  cpuid.push_back({.leaf = 0, .eax = 0xd, .ebx = 0x68747541, .ecx = 0x444d4163, .edx = 0x69746e65});
  cpuid.push_back({.leaf = 1, .eax = 0x00a00f11});  // family 19h
  cpuid.push_back({.leaf = 0x80000000, .eax = 0x80000008});
  cpuid.push_back({.leaf = 0x80000001});
  const CpuPlan plan{.topology = {.sockets = 2, .dies = 2, .cores = 4, .threads = 2}};
  ASSERT_TRUE(apply_cpu_plan(cpuid, plan, true).empty());
  EXPECT_TRUE(cpuid_has_feature(cpuid, "topoext"));
  EXPECT_EQ(entry_of(cpuid, 0x80000000)->eax, 0x80000026U);
  const uint32_t index = 16 + 8 + 5;  // second socket, second die, third core, second thread
  const Cpuid own = cpuid_of_vcpu(cpuid, plan, index);
  EXPECT_EQ(entry_of(own, 0x8000001e)->ecx, 0x103U);  // the fourth node, two in each processor
  EXPECT_EQ(entry_of(own, 0x1f, 2)->ecx, 0x502U);
  const auto* die = entry_of(own, 0x80000026, 2);
  ASSERT_NE(die, nullptr);
  EXPECT_EQ(die->eax, 3U);
  EXPECT_EQ(die->ebx, 8U);
  EXPECT_EQ(die->ecx, 0x302U);
  EXPECT_EQ(die->edx, apic_id(plan.topology, index));
  EXPECT_EQ(entry_of(own, 0x80000026, 3)->ecx, 0x403U);
  EXPECT_EQ(entry_of(own, 0x80000026, 3)->ebx, 16U);
}

// Systems divide the cores of such a processor by its nodes.
TEST(CpuidTopology, AnOldAmdProcessorHasOneNode) {
  Cpuid cpuid;
  cpuid.push_back({.leaf = 0, .eax = 0xd, .ebx = 0x68747541, .ecx = 0x444d4163, .edx = 0x69746e65});
  cpuid.push_back({.leaf = 1, .eax = 0x00600f12});  // family 15h
  cpuid.push_back({.leaf = 0x80000000, .eax = 0x80000008});
  cpuid.push_back({.leaf = 0x80000001});
  const CpuPlan plan{.topology = {.sockets = 1, .dies = 2, .cores = 1, .threads = 1}};
  ASSERT_TRUE(apply_cpu_plan(cpuid, plan, true).empty());
  EXPECT_EQ(entry_of(cpuid_of_vcpu(cpuid, plan, 1), 0x8000001e)->ecx, 0U);
}

std::string brand_of(const Cpuid& cpuid) {
  std::string brand;
  for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    const CpuidEntry* entry = entry_of(cpuid, leaf);
    for (const uint32_t word : {entry->eax, entry->ebx, entry->ecx, entry->edx}) {
      brand.append(reinterpret_cast<const char*>(&word), sizeof word);
    }
  }
  return brand.c_str();
}

class CpuidIdentity : public testing::Test {
 protected:
  // What KVM says, with the name left out, and what the host's processor does.
  Cpuid kvm_ = {{.leaf = 0x80000000, .eax = 0x80000004}, {.leaf = 0x80000002}, {.leaf = 0x80000003}};
  const Cpuid host_ = {
      {.leaf = 0x80000002, .eax = 0x74736f48, .ebx = 0x75504320},  // "Host CPu"
      {.leaf = 0x80000003},
      {.leaf = 0x80000004},
      {.leaf = 0x80000005, .ecx = 0x20080140},
  };
};

TEST_F(CpuidIdentity, TheHostsNameAndCachesAreTheGuests) {
  for (const CpuPlan::Mode mode : {CpuPlan::Mode::kHostPassthrough, CpuPlan::Mode::kHostModel}) {
    Cpuid cpuid = kvm_;
    apply_identity(cpuid, {.mode = mode}, host_);
    EXPECT_EQ(brand_of(cpuid), "Host CPu");
    EXPECT_EQ(entry_of(cpuid, 0x80000005)->ecx, 0x20080140U);
    EXPECT_EQ(entry_of(cpuid, 0x80000000)->eax, 0x80000005U);
  }
}

TEST_F(CpuidIdentity, WhatKvmSaysStays) {
  kvm_[1].eax = 0x004d564b;  // "KVM"
  apply_identity(kvm_, {}, host_);
  EXPECT_EQ(brand_of(kvm_), "KVM");
}

TEST_F(CpuidIdentity, ANamedModelHasItsName) {
  apply_identity(kvm_, {.mode = CpuPlan::Mode::kCustom, .model = "Skylake-Client-noTSX-IBRS"}, host_);
  EXPECT_EQ(brand_of(kvm_), "Skylake-Client-noTSX-IBRS");
}

TEST(CpuidTopology, CachesAreSharedInTheDie) {
  const Cpuid two_dies = planned({.topology = {.sockets = 1, .dies = 2, .cores = 2, .threads = 2}});
  EXPECT_EQ((entry_of(two_dies, 4, 3)->eax >> 14 & 0xfff) + 1, 4U);
  const Cpuid cpuid = planned({.topology = {.sockets = 1, .dies = 1, .cores = 4, .threads = 2}});
  EXPECT_EQ((entry_of(cpuid, 4, 0)->eax >> 14 & 0xfff) + 1, 2U);
  EXPECT_EQ((entry_of(cpuid, 4, 3)->eax >> 14 & 0xfff) + 1, 8U);
  EXPECT_EQ((entry_of(cpuid, 4, 0)->eax >> 26) + 1, 4U);
  EXPECT_EQ((entry_of(cpuid, 0x8000001d, 3)->eax >> 14 & 0xfff) + 1, 8U);
}

}  // namespace
}  // namespace vmm
