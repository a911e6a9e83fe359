// What CPUID says: topology, features that are wanted or unwanted, and the hypervisor's leaves with their
// clock.
#include "tests/guests/cpu.h"
#include "tests/guests/runtime/apic.h"
#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"

namespace guest {
namespace {

enum class Register { kEax, kEbx, kEcx, kEdx };

struct Feature {
  const char* name;  // as libvirt calls it
  uint32_t leaf;
  Register reg;
  uint32_t bit;
  uint32_t cr4_bit;  // of CR4, which must fault where the feature is absent; 0: none
};

constexpr Feature kFeatures[] = {
    {"vmx", 1, Register::kEcx, 5, 13},
    {"cx16", 1, Register::kEcx, 13, 0},
    {"pcid", 1, Register::kEcx, 17, 17},
    {"sse4.1", 1, Register::kEcx, 19, 0},
    {"sse4.2", 1, Register::kEcx, 20, 0},
    {"x2apic", 1, Register::kEcx, 21, 0},
    {"movbe", 1, Register::kEcx, 22, 0},
    {"popcnt", 1, Register::kEcx, 23, 0},
    {"tsc-deadline", 1, Register::kEcx, 24, 0},
    {"aes", 1, Register::kEcx, 25, 0},
    {"xsave", 1, Register::kEcx, 26, 18},
    {"avx", 1, Register::kEcx, 28, 0},
    {"rdrand", 1, Register::kEcx, 30, 0},
    {"hypervisor", 1, Register::kEcx, 31, 0},
    {"fsgsbase", 7, Register::kEbx, 0, 16},
    {"bmi1", 7, Register::kEbx, 3, 0},
    {"avx2", 7, Register::kEbx, 5, 0},
    {"smep", 7, Register::kEbx, 7, 20},
    {"bmi2", 7, Register::kEbx, 8, 0},
    {"erms", 7, Register::kEbx, 9, 0},
    {"rdseed", 7, Register::kEbx, 18, 0},
    {"smap", 7, Register::kEbx, 20, 21},
    {"umip", 7, Register::kEcx, 2, 11},
    {"svm", 0x8000'0001, Register::kEcx, 2, 0},
    {"lahf_lm", 0x8000'0001, Register::kEcx, 0, 0},
    {"nx", 0x8000'0001, Register::kEdx, 20, 0},
    {"pdpe1gb", 0x8000'0001, Register::kEdx, 26, 0},
    {"rdtscp", 0x8000'0001, Register::kEdx, 27, 0},
    {"lm", 0x8000'0001, Register::kEdx, 29, 0},
};

bool has(const Feature& feature) {
  if (cpuid(feature.leaf & 0x8000'0000).eax < feature.leaf) return false;
  const CpuidLeaf leaf = cpuid(feature.leaf);
  const uint32_t registers[] = {leaf.eax, leaf.ebx, leaf.ecx, leaf.edx};
  return (registers[static_cast<unsigned>(feature.reg)] >> feature.bit & 1) != 0;
}

constinit uint64_t bit_to_set = 0;

uint64_t fault_of_cr4_bit(uint32_t bit) {
  bit_to_set = 1ULL << bit;
  return fault_of([] {
    uint64_t value = 0;
    asm volatile("movq %%cr4, %0" : "=r"(value));
    asm volatile("movq %0, %%cr4" ::"r"(value | bit_to_set) : "memory");
  });
}

uint32_t count_words(const char* list) {
  if (list == nullptr) return 0;
  uint32_t count = 1;
  for (; *list != 0 && *list != ' '; list++) count += *list == ',' ? 1 : 0;
  return count;
}

void check_levels(uint32_t leaf, const char* name) {
  const uint32_t id = local_apic_id();
  uint32_t levels = 0;
  uint32_t last_shift = 0;
  uint32_t last_count = 0;
  bool same_id = true;
  bool growing = true;
  for (; levels < 8; levels++) {
    const CpuidLeaf level = cpuid(leaf, levels);
    if ((level.ecx >> 8 & 0xff) == 0) break;
    same_id = same_id && level.edx == id;
    growing = growing && (level.eax & 31) >= last_shift && (level.ebx & 0xffff) >= last_count;
    last_shift = level.eax & 31;
    last_count = level.ebx & 0xffff;
  }
  print(name, ": levels ", levels, ", CPUs ", last_count, ", shift ", last_shift);
  check("topology levels grow", levels >= 2 && growing);
  check("each level says this CPU's APIC id", same_id);
  check("the CPUs of a package fit into its APIC ids", last_count >= 1 && last_count <= 1U << last_shift);
  check_equal("CPUs of a package", last_count, option_number("package", last_count));
}

}  // namespace

bool is_tcg() {
  const CpuidLeaf leaf = cpuid(0x4000'0000);
  const uint32_t name[3] = {leaf.ebx, leaf.ecx, leaf.edx};
  return memcmp(name, "TCGTCGTCGTCG", sizeof name) == 0;
}

void test_topology() {
  const CpuidLeaf one = cpuid(1);
  const uint32_t id = local_apic_id();
  check_equal("leaf 1 says the APIC id", one.ebx >> 24, id);
  const bool threads = (one.edx >> 28 & 1) != 0;
  check("leaf 1 counts the CPUs of a package", !threads || (one.ebx >> 16 & 0xff) >= 1, one.ebx >> 16 & 0xff);
  const uint32_t maximum = cpuid(0).eax;
  if (maximum >= 0xb && (cpuid(0xb).ebx & 0xffff) != 0) {
    check_levels(0xb, "leaf 0xb");
  } else {
    skip("topology leaf 0xb", "not offered");
  }
  if (maximum >= 0x1f && (cpuid(0x1f).ebx & 0xffff) != 0) check_levels(0x1f, "leaf 0x1f");
  bool caches = true;
  uint32_t count = 0;
  for (uint32_t i = 0; maximum >= 4 && i < 8; i++) {
    const CpuidLeaf cache = cpuid(4, i);
    if ((cache.eax & 31) == 0) break;
    count++;
    // Cores of a package, in bits 26-31, are at least as many as share a cache and are threads of it.
    caches = caches && (cache.eax >> 26) + 1 <= 64 && (cache.ebx & 0xfff) + 1 >= 32;
  }
  if (count > 0) check("caches of leaf 4 are well formed", caches, count);
  const bool topology_extensions =
      cpuid(0x8000'0000).eax >= 0x8000'001e && (cpuid(0x8000'0001).ecx >> 22 & 1) != 0;
  if (topology_extensions) check_equal("leaf 0x8000001e says the APIC id", cpuid(0x8000'001e).eax, id);
}

void test_features() {
  const char* const absent = option("expect-absent");
  const char* const present = option("expect-present");
  uint32_t known = 0;
  for (const Feature& feature : kFeatures) {
    if (list_has(absent, feature.name)) {
      known++;
      print("feature ", feature.name);
      check("is absent", !has(feature));
      if (feature.cr4_bit != 0 && !is_tcg())
        check_equal("and its bit of CR4 faults", fault_of_cr4_bit(feature.cr4_bit), 13);
    }
    if (list_has(present, feature.name)) {
      known++;
      print("feature ", feature.name);
      check("is present", has(feature));
    }
  }
  check_equal("features asked for are known", known, count_words(absent) + count_words(present));
}

namespace {

// The page that KVM fills for MSR_KVM_SYSTEM_TIME_NEW (Linux, Documentation/virt/kvm/x86/msr.rst).
struct ClockPage {
  volatile uint32_t version;
  uint32_t pad;
  volatile uint64_t tsc_timestamp;
  volatile uint64_t system_time;
  volatile uint32_t tsc_to_system_mul;
  volatile int8_t tsc_shift;
  volatile uint8_t flags;
  uint8_t pad2[2];
};
alignas(64) constinit ClockPage clock_page = {};

uint64_t scale(uint64_t ticks) {
  ticks = clock_page.tsc_shift >= 0 ? ticks << clock_page.tsc_shift : ticks >> -clock_page.tsc_shift;
  // The upper half of a 64 by 32 bit product.
  return (ticks >> 32) * clock_page.tsc_to_system_mul +
         ((ticks & 0xffff'ffff) * clock_page.tsc_to_system_mul >> 32);
}

uint64_t clock_now() {
  for (;;) {
    const uint32_t version = clock_page.version;
    compiler_barrier();
    const uint64_t now = clock_page.system_time + scale(tsc() - clock_page.tsc_timestamp);
    compiler_barrier();
    if ((version & 1) == 0 && version == clock_page.version) return now;
  }
}

void test_clock() {
  constexpr uint32_t kSystemTime = 0x4b56'4d01;
  if (!check("clock MSR takes an address", try_write_msr(kSystemTime, address_of(&clock_page) | 1))) return;
  if (!check("clock page is filled",
             wait_until([] { return clock_page.version != 0 && (clock_page.version & 1) == 0; }))) {
    return;
  }
  uint64_t last = clock_now();
  bool monotonic = true;
  for (int i = 0; i < 1000; i++) {
    const uint64_t now = clock_now();
    monotonic = monotonic && now >= last;
    last = now;
  }
  check("clock is monotonic", monotonic);
  const uint64_t second = scale(tsc_frequency());
  check("its rate is the TSC's", second > 950'000'000 && second < 1'050'000'000, second,
        " ns in a second of the TSC");
  check("clock MSR is switched off", try_write_msr(kSystemTime, 0));
}

}  // namespace

void test_hypervisor() {
  if (!check("CPUID says that there is a hypervisor", (cpuid(1).ecx >> 31 & 1) != 0)) return;
  const CpuidLeaf leaf = cpuid(0x4000'0000);
  uint32_t name[4] = {leaf.ebx, leaf.ecx, leaf.edx, 0};
  print("hypervisor ", reinterpret_cast<const char*>(name));
  if (is_tcg()) return skip("KVM's leaves", "this is TCG");
  if (!check("hypervisor is KVM", memcmp(name, "KVMKVMKVM\0\0\0", 12) == 0)) return;
  check("KVM's feature leaf is there", leaf.eax >= 0x4000'0001, Hex{leaf.eax});
  const uint32_t features = cpuid(0x4000'0001).eax;
  if (check("clock MSRs are offered", (features >> 3 & 1) != 0, Hex{features})) test_clock();
}

}  // namespace guest
