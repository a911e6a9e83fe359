#include "tests/guests/runtime/smp.h"

#include "tests/guests/runtime/apic.h"
#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/cpu.h"

extern "C" {
extern const uint8_t ap_trampoline[];
extern const uint8_t ap_trampoline_end[];
void ap_main(uint32_t number);
}

namespace guest {
namespace {

constexpr uint64_t kTrampoline = 0x8000;
constexpr uint32_t kInit = 0x4500;
constexpr uint32_t kStartUp = 0x4600;

using CpuFunction = void (*)(uint32_t);
constinit CpuFunction cpu_function = nullptr;
constinit uint32_t cpus_running = 0;

uint32_t running() { return __atomic_load_n(&cpus_running, __ATOMIC_ACQUIRE); }

}  // namespace

bool start_cpu(uint32_t apic_id, void (*function)(uint32_t)) {
  memcpy(at<void>(kTrampoline), ap_trampoline, static_cast<size_t>(ap_trampoline_end - ap_trampoline));
  enable_local_apic();
  cpu_function = function;
  const uint32_t before = running();
  send_ipi(apic_id, kInit);
  wait_microseconds(10'000);
  send_ipi(apic_id, kStartUp | kTrampoline >> 12);
  // The second one is for a CPU that missed the first; one that runs already ignores it.
  if (wait_until([&] { return running() != before; }, 10)) return true;
  send_ipi(apic_id, kStartUp | kTrampoline >> 12);
  return wait_until([&] { return running() != before; }, 1000);
}

}  // namespace guest

void ap_main(uint32_t number) {
  guest::load_interrupt_table();
  const auto function = guest::cpu_function;
  __atomic_fetch_add(&guest::cpus_running, 1, __ATOMIC_RELEASE);
  function(number);
}
