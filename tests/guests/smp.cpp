// Starts every CPU of the MADT, and lets them interrupt each other.
#include "tests/guests/runtime/smp.h"

#include "tests/guests/runtime/acpi.h"
#include "tests/guests/runtime/apic.h"
#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"

namespace guest {
namespace {

constexpr uint8_t kCallVector = 0x50;
constexpr uint8_t kNmiVector = 2;
constexpr uint32_t kRounds = 1000;
constexpr uint32_t kNmi = 0x400;
constexpr uint32_t kToAllButSelf = 3 << 18;

struct Cpu {
  uint32_t apic_id;
  uint32_t cpuid_apic_id;
  volatile uint32_t calls;
  volatile uint32_t nmis;
};

constinit Madt madt = {};
constinit Cpu cpus[kMaximumCpus] = {};
constinit uint32_t arrived = 0;
constinit uint32_t sum = 0;
constinit volatile bool go = false;

Cpu& this_cpu() {
  const uint32_t id = local_apic_id();
  for (Cpu& cpu : cpus) {
    if (cpu.apic_id == id && (&cpu == cpus || cpu.apic_id != cpus[0].apic_id)) return cpu;
  }
  return cpus[0];
}

void on_call(InterruptFrame&) {
  Cpu& cpu = this_cpu();
  cpu.calls = cpu.calls + 1;
  apic_eoi();
}

void on_nmi(InterruptFrame&) {
  Cpu& cpu = this_cpu();
  cpu.nmis = cpu.nmis + 1;
}

void cpu_main(uint32_t number) {
  enable_local_apic();
  cpus[number].apic_id = local_apic_id();
  cpus[number].cpuid_apic_id = cpuid(1).ebx >> 24;
  __atomic_fetch_add(&arrived, 1, __ATOMIC_ACQ_REL);
  while (!go) pause();
  for (uint32_t i = 0; i < kRounds; i++) __atomic_fetch_add(&sum, 1, __ATOMIC_RELAXED);
  __atomic_fetch_add(&arrived, 1, __ATOMIC_ACQ_REL);
  for (;;) wait_for_interrupt();
}

bool all_arrived(uint32_t count) {
  return wait_until([&] { return __atomic_load_n(&arrived, __ATOMIC_ACQUIRE) == count; }, 5000);
}

void start_all() {
  const uint32_t self = local_apic_id();
  uint32_t started = 0;
  for (uint32_t i = 0; i < madt.cpu_count && i < kMaximumCpus; i++) {
    if (madt.cpu_apic_ids[i] == self) continue;
    if (!start_cpu(madt.cpu_apic_ids[i], cpu_main)) {
      fail("start", "APIC id ", madt.cpu_apic_ids[i], " does not run");
      continue;
    }
    started++;
    print("CPU with APIC id ", madt.cpu_apic_ids[i], " runs");
  }
  check("every CPU of the MADT starts", started + 1 == madt.cpu_count && all_arrived(started), started + 1,
        " of ", madt.cpu_count);
}

void test_identities() {
  bool same = true;
  bool in_madt = true;
  for (uint32_t i = 0; i < madt.cpu_count; i++) {
    same = same && cpus[i].apic_id == cpus[i].cpuid_apic_id;
    bool found = false;
    for (uint32_t k = 0; k < madt.cpu_count; k++) found = found || madt.cpu_apic_ids[k] == cpus[i].apic_id;
    in_madt = in_madt && found;
  }
  check("each CPU's CPUID says its APIC id", same);
  check("each CPU finds itself in the MADT", in_madt);
}

void test_counting() {
  go = true;
  check("the others count", all_arrived(2 * (madt.cpu_count - 1)));
  check_equal("locked additions are all there", sum, uint64_t{madt.cpu_count - 1} * kRounds);
}

void test_ipis() {
  for (uint32_t i = 1; i < madt.cpu_count; i++) {
    const uint32_t before = cpus[i].calls;
    send_ipi(cpus[i].apic_id, 0x4000 | kCallVector);
    if (!wait_until([&] { return cpus[i].calls == before + 1; }, 5000))
      fail("IPI", "to APIC id ", cpus[i].apic_id);
  }
  pass("IPI to each CPU");
  send_ipi(0, kToAllButSelf | 0x4000 | kCallVector);
  bool all = true;
  for (uint32_t i = 1; i < madt.cpu_count; i++)
    all = all && wait_until([&] { return cpus[i].calls == 2; }, 5000);
  check("IPI to all but self", all && cpus[0].calls == 0);
  send_ipi(0, kToAllButSelf | 0x4000 | kNmi);
  all = true;
  for (uint32_t i = 1; i < madt.cpu_count; i++)
    all = all && wait_until([&] { return cpus[i].nmis == 1; }, 5000);
  check("NMI to all but self", all && cpus[0].nmis == 0);
}

}  // namespace
}  // namespace guest

void guest::run() {
  if (!check("MADT", find_madt(madt))) return;
  check_equal("CPUs", madt.cpu_count, option_number("cpus", madt.cpu_count));
  set_handler(kCallVector, on_call);
  set_handler(kNmiVector, on_nmi);
  enable_local_apic();
  cpus[0].apic_id = local_apic_id();
  cpus[0].cpuid_apic_id = cpuid(1).ebx >> 24;
  start_all();
  if (madt.cpu_count == 1 || failures() != 0) return;
  test_identities();
  test_counting();
  test_ipis();
}
