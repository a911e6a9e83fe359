#include "vmm/kvm/cpuid.h"

#include <cpuid.h>
#include <fmt/ranges.h>
#include <linux/kvm.h>
#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "vmm/kvm/cpu_features.h"

namespace vmm {
namespace {

constexpr uint32_t kLeafTopology = 0xb;
constexpr uint32_t kLeafTopologyV2 = 0x1f;
constexpr uint32_t kLeafXsave = 0xd;
constexpr uint32_t kLeafExtendedRoot = 0x8000'0000;
constexpr uint32_t kLeafBrand = 0x8000'0002;  // and the two that follow
constexpr uint32_t kLeafAmdL1Caches = 0x8000'0005;
constexpr uint32_t kLeafAmdTopology = 0x8000'001e;
constexpr uint32_t kLeafAmdTopologyV2 = 0x8000'0026;
constexpr uint32_t kLeafKvmFeatures = 0x4000'0001;
constexpr uint32_t kKvmClocks =
    1U << 0 | 1U << 3 | 1U << 24;  // CLOCKSOURCE, CLOCKSOURCE2, CLOCKSOURCE_STABLE

using Entries = Cpuid;

CpuidEntry* find(Entries& entries, uint32_t leaf, uint32_t subleaf) {
  const auto place = std::ranges::find_if(entries, [&](const CpuidEntry& entry) {
    return entry.leaf == leaf && (!entry.has_subleaves || entry.subleaf == subleaf);
  });
  return place == entries.end() ? nullptr : &*place;
}

uint32_t& reg_of(CpuidEntry& entry, CpuidRegister reg) {
  switch (reg) {
    case CpuidRegister::kEax:
      return entry.eax;
    case CpuidRegister::kEbx:
      return entry.ebx;
    case CpuidRegister::kEcx:
      return entry.ecx;
    case CpuidRegister::kEdx:
      return entry.edx;
  }
  return entry.eax;
}

bool has(Entries& entries, const CpuFeatureBit& feature) {
  CpuidEntry* entry = find(entries, feature.leaf, feature.subleaf);
  return entry != nullptr && (reg_of(*entry, feature.reg) >> feature.bit & 1) != 0;
}

void set(Entries& entries, const CpuFeatureBit& feature, bool on) {
  CpuidEntry* entry = find(entries, feature.leaf, feature.subleaf);
  if (entry == nullptr) {
    return;
  }
  const uint32_t mask = 1U << feature.bit;
  uint32_t& value = reg_of(*entry, feature.reg);
  value = on ? value | mask : value & ~mask;
  // AMD repeats most of leaf 1's EDX in leaf 8000_0001h.
  constexpr uint32_t kRepeatedBits = 0x0183'f3ff;
  CpuidEntry* extended = find(entries, 0x8000'0001, 0);
  if (feature.leaf == 1 && feature.reg == CpuidRegister::kEdx && (mask & kRepeatedBits) != 0 && !on &&
      extended != nullptr) {
    extended->edx &= ~mask;
  }
}

void remove_feature(Entries& entries, const CpuFeatureBit& feature) {
  set(entries, feature, false);
  for (const std::string_view dependent : features_needing(feature.name)) {
    if (const CpuFeatureBit* bit = find_cpu_feature(dependent)) {
      set(entries, *bit, false);
    }
  }
  if (feature.name == "xsave") {
    std::erase_if(entries, [](const auto& entry) { return entry.leaf == kLeafXsave; });
  }
}

// Bits that belong to the platform and not to a CPU model: a named model does not take them away.
bool is_platform_feature(const CpuFeatureBit& feature) {
  constexpr std::string_view kKept[] = {"hypervisor", "x2apic",     "tsc-deadline",      "ht",  "topoext",
                                        "cmp_legacy", "tsc_adjust", "arch-capabilities", "arat"};
  return (feature.leaf & 0xf000'0000) == 0x4000'0000 ||
         std::ranges::find(kKept, feature.name) != std::end(kKept);
}

Status apply_model(Entries& entries, const CpuPlan& plan) {
  const auto wanted = cpu_model_features(plan.model);
  if (!wanted) {
    return fail_configuration(
        "<cpu>/<model>: the CPU model '{}' is not known; vmm knows {}, or use mode='host-model'", plan.model,
        fmt::join(cpu_model_names(), ", "));
  }
  std::vector<std::string_view> missing;
  for (const std::string_view name : *wanted) {
    const bool is_excused = std::ranges::any_of(plan.features, [&](const CpuPlan::Feature& feature) {
      return find_cpu_feature(feature.name) == find_cpu_feature(name) &&
             (feature.policy == CpuPlan::Policy::kDisable || feature.policy == CpuPlan::Policy::kOptional);
    });
    if (!has(entries, *find_cpu_feature(name)) && !is_excused) {
      missing.push_back(name);
    }
  }
  if (!missing.empty()) {
    return fail(
        "<cpu>/<model>: this host cannot give the feature{} '{}' of the model '{}'; choose an older model, "
        "mode='host-model', or add <feature policy='disable' name='{}'/>{}",
        missing.size() == 1 ? "" : "s", fmt::join(missing, "', '"), plan.model, missing.front(),
        missing.size() == 1 ? "" : " and the like");
  }
  for (const CpuFeatureBit& feature : cpu_features()) {
    const bool is_asked_for = std::ranges::any_of(plan.features, [&](const CpuPlan::Feature& other) {
      return find_cpu_feature(other.name) == &feature && other.policy != CpuPlan::Policy::kDisable;
    });
    const bool is_in_model = std::ranges::find(*wanted, feature.name) != wanted->end();
    if (!is_in_model && !is_asked_for && !is_platform_feature(feature)) {
      remove_feature(entries, feature);
    }
  }
  return {};
}

Status apply_feature(Entries& entries, const CpuPlan::Feature& asked) {
  const CpuFeatureBit* feature = find_cpu_feature(asked.name);
  if (feature == nullptr && is_left_to_kvm(asked.name)) {
    return asked.policy == CpuPlan::Policy::kOptional
               ? Status()
               : fail_configuration(
                     "<cpu>/<feature name='{}'>: is as KVM gives it; remove the line, or use "
                     "policy='optional'",
                     asked.name);
  }
  if (feature == nullptr) {
    return fail_configuration("<cpu>/<feature name='{}'>: the CPU feature is not known", asked.name);
  }
  switch (asked.policy) {
    case CpuPlan::Policy::kForce:
      set(entries, *feature, true);
      return {};
    case CpuPlan::Policy::kRequire:
      if (!has(entries, *feature)) {
        return fail(
            "<cpu>/<feature name='{}'>: this host cannot give it; remove the line or use policy='optional'",
            asked.name);
      }
      return {};
    case CpuPlan::Policy::kOptional:
      return {};
    case CpuPlan::Policy::kForbid:
      if (has(entries, *feature)) {
        return fail(
            "<cpu>/<feature policy='forbid' name='{}'>: this host has it, so the guest may not run here",
            asked.name);
      }
      return {};
    case CpuPlan::Policy::kDisable:
      remove_feature(entries, *feature);
      return {};
  }
  return {};
}

// A TSC that always runs at one rate does so on one host only.
void hide_what_cannot_migrate(Entries& entries, const CpuPlan& plan) {
  const CpuFeatureBit& invariant_tsc = *find_cpu_feature("invtsc");
  const bool is_asked_for = std::ranges::any_of(plan.features, [&](const CpuPlan::Feature& feature) {
    return find_cpu_feature(feature.name) == &invariant_tsc && feature.policy != CpuPlan::Policy::kDisable &&
           feature.policy != CpuPlan::Policy::kForbid;
  });
  if (plan.migratable && !is_asked_for) {
    remove_feature(entries, invariant_tsc);
  }
}

struct TopologyBits {
  uint32_t thread;
  uint32_t core;
  uint32_t die;
  uint32_t package() const { return thread + core + die; }  // bits below the socket's
};

uint32_t bits_for(uint32_t count) { return static_cast<uint32_t>(std::bit_width(count - 1)); }

TopologyBits bits_of(const CpuPlan::Topology& topology) {
  return {bits_for(topology.threads), bits_for(topology.cores), bits_for(topology.dies)};
}

uint32_t cpus_per_package(const CpuPlan::Topology& topology) {
  return topology.dies * topology.cores * topology.threads;
}

CpuidEntry topology_level(uint32_t leaf, uint32_t level, uint32_t shift, uint32_t count, uint32_t type) {
  CpuidEntry entry{};
  entry.leaf = leaf;
  entry.subleaf = level;
  entry.has_subleaves = true;
  entry.eax = shift;
  entry.ebx = count;
  entry.ecx = type << 8 | level;
  return entry;
}

// Leaves 0Bh and 1Fh: level types 1 thread, 2 core, 5 die; 0 ends.
void add_extended_topology(Entries& entries, const CpuPlan::Topology& topology) {
  std::erase_if(entries, [](const auto& entry) {
    return entry.leaf == kLeafTopology || entry.leaf == kLeafTopologyV2 || entry.leaf == kLeafAmdTopologyV2;
  });
  const TopologyBits bits = bits_of(topology);
  const uint32_t in_package = cpus_per_package(topology);
  entries.push_back(topology_level(kLeafTopology, 0, bits.thread, topology.threads, 1));
  entries.push_back(topology_level(kLeafTopology, 1, bits.package(), in_package, 2));
  entries.push_back(topology_level(kLeafTopology, 2, 0, 0, 0));
  uint32_t highest_leaf = kLeafTopology;
  if (topology.dies > 1) {
    highest_leaf = kLeafTopologyV2;
    entries.push_back(topology_level(kLeafTopologyV2, 0, bits.thread, topology.threads, 1));
    entries.push_back(
        topology_level(kLeafTopologyV2, 1, bits.thread + bits.core, topology.cores * topology.threads, 2));
    entries.push_back(topology_level(kLeafTopologyV2, 2, bits.package(), in_package, 5));
    entries.push_back(topology_level(kLeafTopologyV2, 3, 0, 0, 0));
  }
  if (CpuidEntry* root = find(entries, 0, 0); root != nullptr && root->eax < highest_leaf) {
    root->eax = highest_leaf;
  }
}

bool is_amd(Entries& entries) {
  const CpuidEntry* root = find(entries, 0, 0);
  constexpr uint32_t kAuth = 0x6874'7541;  // "Auth"enticAMD
  constexpr uint32_t kHygo = 0x6f67'7948;  // "Hygo"nGenuine
  return root != nullptr && (root->ebx == kAuth || root->ebx == kHygo);
}

// Families 17h and later have nodes in leaf 8000_001Eh; an older one with nodes is of another build.
bool has_amd_nodes(Entries& entries) {
  const CpuidEntry* version = find(entries, 1, 0);
  const uint32_t base = version != nullptr ? version->eax >> 8 & 0xf : 0;
  return is_amd(entries) && base == 0xf && base + (version->eax >> 20 & 0xff) >= 0x17;
}

// Level types 1 core, 2 complex, 3 die, 4 socket (APM volume 3, E.4.24). A die has one complex.
void add_amd_dies(Entries& entries, const CpuPlan::Topology& topology) {
  const TopologyBits bits = bits_of(topology);
  const uint32_t in_die = topology.cores * topology.threads;
  const uint32_t die_shift = bits.thread + bits.core;
  const uint32_t leaf = kLeafAmdTopologyV2;
  entries.push_back(topology_level(leaf, 0, bits.thread, topology.threads, 1));
  entries.push_back(topology_level(leaf, 1, die_shift, in_die, 2));
  entries.push_back(topology_level(leaf, 2, die_shift, in_die, 3));
  entries.push_back(topology_level(leaf, 3, bits.package(), cpus_per_package(topology), 4));
  entries.push_back(topology_level(leaf, 4, 0, 0, 0));
}

// AMD's processors tell the threads of a core in leaf 8000_001Eh only (APM volume 3, E.4.15), and systems
// look there, and for dies, only where TopologyExtensions is set, which a host without threads of its own
// has not.
void add_amd_topology(Entries& entries, const CpuPlan::Topology& topology) {
  CpuidEntry* root = find(entries, kLeafExtendedRoot, 0);
  if ((topology.threads == 1 && topology.dies == 1) || !is_amd(entries) || root == nullptr) {
    return;
  }
  root->eax = std::max(root->eax, topology.dies > 1 ? kLeafAmdTopologyV2 : kLeafAmdTopology);
  set(entries, *find_cpu_feature("topoext"), true);
  if (find(entries, kLeafAmdTopology, 0) == nullptr) {
    entries.push_back({.leaf = kLeafAmdTopology});
  }
  if (topology.dies > 1) {
    add_amd_dies(entries, topology);
  }
}

// "Sharing" fields of leaves 4 and 8000_001Dh: the CPUs that share this cache, less one.
void set_cache_sharing(CpuidEntry& entry, const CpuPlan::Topology& topology) {
  const uint32_t level = entry.eax >> 5 & 7;
  const TopologyBits bits = bits_of(topology);
  const uint32_t sharing = level >= 3 ? 1U << (bits.thread + bits.core) : 1U << bits.thread;
  entry.eax = (entry.eax & ~0x03ff'c000U) | (sharing - 1) << 14;
}

void apply_topology(Entries& entries, const CpuPlan::Topology& topology) {
  const TopologyBits bits = bits_of(topology);
  const uint32_t in_package = cpus_per_package(topology);
  add_extended_topology(entries, topology);
  add_amd_topology(entries, topology);
  for (CpuidEntry& entry : entries) {
    switch (entry.leaf) {
      case 1:
        entry.ebx = (entry.ebx & 0x0000'ffff) | std::min(1U << bits.package(), 255U) << 16;
        entry.edx = in_package > 1 ? entry.edx | 1U << 28 : entry.edx & ~(1U << 28);
        break;
      case 4:
        if ((entry.eax & 0x1f) != 0) {
          set_cache_sharing(entry, topology);
          entry.eax = (entry.eax & 0x03ff'ffff) | std::min((1U << (bits.core + bits.die)) - 1, 63U) << 26;
        }
        break;
      case 0x8000'0001:
        // CmpLegacy: more than one core in the package.
        entry.ecx = in_package > 1 ? entry.ecx | 1U << 1 : entry.ecx & ~(1U << 1);
        break;
      case 0x8000'0008:
        entry.ecx = (entry.ecx & ~0xf0ffU) | bits.package() << 12 | std::min(in_package - 1, 255U);
        break;
      case 0x8000'001d:
        if ((entry.eax & 0x1f) != 0) {
          set_cache_sharing(entry, topology);
        }
        break;
      default:
        break;
    }
  }
}

Cpuid host_identity() {
  Cpuid host;
  for (uint32_t leaf = kLeafBrand; leaf <= kLeafAmdL1Caches; ++leaf) {
    CpuidEntry entry{.leaf = leaf};
    if (::__get_cpuid(leaf, &entry.eax, &entry.ebx, &entry.ecx, &entry.edx) != 0) {
      host.push_back(entry);
    }
  }
  return host;
}

Cpuid brand_of(std::string_view name) {
  std::array<uint32_t, 12> words{};
  name.copy(reinterpret_cast<char*>(words.data()), sizeof words - 1);
  Cpuid brand;
  for (uint32_t i = 0; i < words.size(); i += 4) {
    brand.push_back({.leaf = kLeafBrand + i / 4,
                     .eax = words[i],
                     .ebx = words[i + 1],
                     .ecx = words[i + 2],
                     .edx = words[i + 3]});
  }
  return brand;
}

void set_leaf(Entries& entries, const CpuidEntry& wanted) {
  std::erase_if(entries, [&](const auto& entry) { return entry.leaf == wanted.leaf; });
  entries.push_back(wanted);
}

void apply_platform(Entries& entries, const CpuPlan& plan, bool has_tsc_deadline) {
  set(entries, *find_cpu_feature("hypervisor"), true);
  set(entries, *find_cpu_feature("x2apic"), true);
  set(entries, *find_cpu_feature("tsc-deadline"), has_tsc_deadline);
  set(entries, *find_cpu_feature("osxsave"), false);  // KVM shows CR4.OSXSAVE there
  if (!plan.pmu) {
    std::erase_if(entries, [](const auto& entry) { return entry.leaf == 0xa || entry.leaf == 0x8000'0022; });
  }
  if (plan.hide_kvm) {
    std::erase_if(entries, [](const auto& entry) { return (entry.leaf & 0xf000'0000) == 0x4000'0000; });
  }
  if (CpuidEntry* kvm = find(entries, kLeafKvmFeatures, 0); kvm != nullptr && !plan.kvmclock) {
    kvm->eax &= ~kKvmClocks;
  }
}

}  // namespace

uint32_t apic_id(const CpuPlan::Topology& topology, uint32_t index) {
  const TopologyBits bits = bits_of(topology);
  const uint32_t thread = index % topology.threads;
  const uint32_t core = index / topology.threads % topology.cores;
  const uint32_t die = index / (topology.threads * topology.cores) % topology.dies;
  const uint32_t socket = index / cpus_per_package(topology);
  return socket << bits.package() | die << (bits.thread + bits.core) | core << bits.thread | thread;
}

std::vector<CpuFault> apply_cpu_plan(Cpuid& entries, const CpuPlan& plan, bool has_tsc_deadline) {
  std::vector<CpuFault> faults;
  const auto note = [&faults](std::optional<size_t> feature, const Status& status) {
    if (!status) {
      faults.push_back({feature, status.error()});
    }
  };
  apply_platform(entries, plan, has_tsc_deadline);
  if (plan.mode == CpuPlan::Mode::kCustom) {
    note(std::nullopt, apply_model(entries, plan));
  }
  for (size_t i = 0; i < plan.features.size(); ++i) {
    note(i, apply_feature(entries, plan.features[i]));
  }
  hide_what_cannot_migrate(entries, plan);
  apply_topology(entries, plan.topology);
  return faults;
}

bool cpuid_has_feature(const Cpuid& entries, std::string_view name) {
  Entries copy = entries;
  const CpuFeatureBit* feature = find_cpu_feature(name);
  return feature != nullptr && has(copy, *feature);
}

void apply_identity(Cpuid& entries, const CpuPlan& plan, const Cpuid& host) {
  CpuidEntry* root = find(entries, kLeafExtendedRoot, 0);
  if (root == nullptr) {
    return;
  }
  root->eax = std::max(root->eax, kLeafAmdL1Caches);
  for (const CpuidEntry& told : host) {
    const CpuidEntry* present = find(entries, told.leaf, 0);
    if (present == nullptr || *present == CpuidEntry{.leaf = told.leaf}) {
      set_leaf(entries, told);
    }
  }
  if (plan.mode == CpuPlan::Mode::kCustom) {
    for (const CpuidEntry& entry : brand_of(plan.model)) {
      set_leaf(entries, entry);
    }
  }
}

Result<MadeCpuid> make_cpuid(const Kvm& kvm, const CpuPlan& plan) {
  VMM_ASSIGN_OR_RETURN(Entries entries, kvm.supported_cpuid());
  apply_identity(entries, plan, host_identity());
  auto faults = apply_cpu_plan(entries, plan, kvm.capability(KVM_CAP_TSC_DEADLINE_TIMER) != 0);
  return MadeCpuid{.entries = std::move(entries), .faults = std::move(faults)};
}

Cpuid cpuid_of_vcpu(Cpuid common, const CpuPlan& plan, uint32_t index) {
  const uint32_t id = apic_id(plan.topology, index);
  const TopologyBits bits = bits_of(plan.topology);
  const bool has_nodes = has_amd_nodes(common);
  for (CpuidEntry& entry : common) {
    switch (entry.leaf) {
      case 1:
        entry.ebx = (entry.ebx & 0x00ff'ffff) | (id & 0xff) << 24;
        break;
      case kLeafTopology:
      case kLeafTopologyV2:
      case kLeafAmdTopologyV2:
        entry.edx = id;
        break;
      case kLeafAmdTopology: {
        const uint32_t core = id >> bits.thread & ((1U << (bits.core + bits.die)) - 1);
        entry.eax = id;
        entry.ebx = (plan.topology.threads - 1) << 8 | (core & 0xff);
        // A node is a die, or the package.
        entry.ecx = has_nodes ? ((plan.topology.dies - 1) & 7) << 8 | (id >> (bits.thread + bits.core) & 0xff)
                              : id >> bits.package() & 0xff;
        break;
      }
      default:
        break;
    }
  }
  return common;
}

}  // namespace vmm
