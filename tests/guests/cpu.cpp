// The CPU: its modes, faults, vector registers, and what MSRs do. What CPUID says is in cpu_identity.cpp.
#include "tests/guests/cpu.h"

#include "tests/guests/runtime/apic.h"
#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"

extern "C" {
uint32_t compatibility_mode();
void real_mode();
extern const uint8_t real_mode_code[];
extern const uint8_t real_mode_code_end[];
}

namespace guest {
namespace {

constexpr uint64_t kRealModeCode = 0x9000;
constexpr uint64_t kRealModeData = 0x12340;

constexpr uint32_t kEfer = 0xc000'0080;
constexpr uint32_t kApicBase = 0x1b;
constexpr uint32_t kTscDeadline = 0x6e0;
constexpr uint8_t kDeadlineVector = 0x62;
constexpr uint32_t kDeadlineMode = 2 << 17;

constexpr uint64_t kInvalidOpcode = 6;
constexpr uint64_t kDivision = 0;
constexpr uint64_t kProtection = 13;
constexpr uint64_t kPageFault = 14;

constinit volatile uint32_t deadlines = 0;

uint64_t cr0() {
  uint64_t value = 0;
  asm volatile("movq %%cr0, %0" : "=r"(value));
  return value;
}
uint64_t cr2() {
  uint64_t value = 0;
  asm volatile("movq %%cr2, %0" : "=r"(value));
  return value;
}
uint64_t cr4() {
  uint64_t value = 0;
  asm volatile("movq %%cr4, %0" : "=r"(value));
  return value;
}
void set_cr0(uint64_t value) { asm volatile("movq %0, %%cr0" ::"r"(value) : "memory"); }
void set_cr4(uint64_t value) { asm volatile("movq %0, %%cr4" ::"r"(value) : "memory"); }

void on_deadline(InterruptFrame&) {
  deadlines = deadlines + 1;
  apic_eoi();
}

}  // namespace

void test_modes() {
  check("long mode is active", (read_msr(kEfer) & 0x500) == 0x500);
  check_equal("compatibility mode", compatibility_mode(), 42);
  memcpy(at<void>(kRealModeCode), real_mode_code, static_cast<size_t>(real_mode_code_end - real_mode_code));
  write32(kRealModeData, 0);
  real_mode();
  load_interrupt_table();
  check_equal("real mode addresses by segments", read32(kRealModeData), 0xcafe'1234);
  check_equal("real mode interrupts", read16(kRealModeData + 4), 2);
  check_equal("real mode arithmetic is of 16 bits", read16(kRealModeData + 6), 1);
  check("long mode is active again", (read_msr(kEfer) & 0x500) == 0x500);
  const uint64_t base = read_msr(kApicBase);
  check("the first CPU is marked so, and its local APIC is on", (base & 0x900) == 0x900);
  check_equal("the local APIC is in its place", base & 0xf'ffff'f000, kLocalApic);
}

void test_faults() {
  check_equal("undefined instruction", fault_of([] { asm volatile("ud2"); }), kInvalidOpcode);
  check_equal("division by zero", fault_of([] {
                asm volatile("xorl %%ecx, %%ecx; divl %%ecx" ::: "eax", "ecx", "edx");
              }),
              kDivision);
  check_equal("access to what is not mapped", fault_of([] { read8(0x1234'5678'9000); }), kPageFault);
  check_equal("and its address", cr2(), 0x1234'5678'9000);
  check_equal("access to no canonical address", fault_of([] { read8(0x8000'0000'0000'0000); }), kProtection);
  check_equal("privileged instruction in ring 3", fault_of([] {
                run_in_user_mode([] { asm volatile("movq %%cr0, %%rax" ::: "rax"); });
              }),
              kProtection);
  check("and ring 0 again after it", !in_user_mode());
  if (is_tcg()) return;
  uint64_t value = 0;
  check("an MSR that does not exist faults", !try_read_msr(0x4000'1234, value));
  check("a reserved bit of EFER faults", !try_write_msr(kEfer, read_msr(kEfer) | 1ULL << 62));
}

void test_vector_registers() {
  set_cr0((cr0() & ~0xcULL) | 2);  // EM and TS off, MP on
  set_cr4(cr4() | 0x600);          // OSFXSR, OSXMMEXCPT
  alignas(32) static constinit uint64_t in[4] = {1, 2, 3, 0x1234'5678'9abc'def0};
  alignas(32) static constinit uint64_t out[4] = {};
  const uint64_t sse = fault_of([] {
    run_in_user_mode([] {
      asm volatile("movdqa %1, %%xmm7; paddq %%xmm7, %%xmm7; movdqa %%xmm7, %0" : "=m"(out) : "m"(in));
    });
  });
  check("SSE registers", sse == kNoFault && out[0] == 2 && out[1] == 4, "fault ", sse);
  const bool xsave = (cpuid(1).ecx >> 26 & 1) != 0;
  const bool avx = (cpuid(1).ecx >> 28 & 1) != 0;
  if (!xsave) {
    check("without XSAVE its bit in CR4 faults",
          is_tcg() || fault_of([] { set_cr4(cr4() | 1 << 18); }) == kProtection);
    check("and there is no AVX", !avx);
    return;
  }
  check("CR4.OSXSAVE", fault_of([] { set_cr4(cr4() | 1 << 18); }) == kNoFault);
  check("CPUID says that it is on", (cpuid(1).ecx >> 27 & 1) != 0);
  if (!avx) return skip("AVX", "not offered");
  check("x87, SSE and AVX state can be enabled", (cpuid(0xd).eax & 7) == 7);
  check_equal("XSETBV", fault_of([] { asm volatile("xsetbv" ::"c"(0), "a"(7), "d"(0)); }), kNoFault);
  // QEMU's emulated SVM does not intercept XSETBV, so that KVM does not know what it enabled.
  if (option_is("lab", "emulated") && cpuid(0xd).ebx == 576) return skip("AVX", "the lab cannot");
  check("save area is large enough for them", cpuid(0xd).ebx >= 512 + 64 + 256, cpuid(0xd).ebx);
  const uint64_t fault = fault_of([] {
    run_in_user_mode([] { asm volatile("vmovdqa %1, %%ymm7; vmovdqa %%ymm7, %0" : "=m"(out) : "m"(in)); });
  });
  check("AVX registers", fault == kNoFault && out[2] == 3 && out[3] == in[3], "fault ", fault);
  check_equal("state that is not offered is refused",
              fault_of([] { asm volatile("xsetbv" ::"c"(0), "a"(0), "d"(0x4000'0000)); }), kProtection);
}

void test_tsc_deadline() {
  if ((cpuid(1).ecx >> 24 & 1) == 0) return skip("TSC deadline timer", "not offered");
  enable_local_apic();
  set_handler(kDeadlineVector, on_deadline);
  apic_write(kApicTimer, kDeadlineMode | kDeadlineVector);
  const uint64_t deadline = tsc() + tsc_frequency() / 50;
  write_msr(kTscDeadline, deadline);
  check("deadline reads back", read_msr(kTscDeadline) == deadline || tsc() >= deadline);
  const bool arrived = wait_until([] {
    allow_interrupts();
    return deadlines != 0;
  });
  check("TSC deadline timer fires", arrived && tsc() >= deadline);
  check_equal("deadline is gone", read_msr(kTscDeadline), 0);
  write_msr(kTscDeadline, tsc());
  check("a deadline in the past fires at once", wait_until([] {
          allow_interrupts();
          return deadlines == 2;
        }));
  write_msr(kTscDeadline, tsc() + tsc_frequency() / 100);
  wait_for_interrupt();
  check_equal("HLT is woken by it", deadlines, 3);
  apic_write(kApicTimer, kApicMasked);
}

}  // namespace guest

void guest::run() {
  tsc_frequency();
  test_modes();
  test_faults();
  test_features();
  test_topology();
  test_vector_registers();
  test_hypervisor();
  test_tsc_deadline();
}
