#include "tests/guests/runtime/power.h"

#include "tests/guests/runtime/acpi.h"
#include "tests/guests/runtime/cpu.h"

namespace guest {
namespace {

constexpr uint16_t kSleepEnable = 1 << 13;       // PM1_CNT (ACPI 6.4, 4.8.3.2.1)
constexpr uint8_t kReducedSleepEnable = 1 << 5;  // SLEEP_CONTROL_REG (ACPI 6.4, 4.8.3.7)

void sleep_s5(const Fadt& fadt, uint8_t sleep_type) {
  if (fadt.hardware_reduced) {
    const auto value = static_cast<uint8_t>(kReducedSleepEnable | (sleep_type & 7) << 2);
    if (fadt.sleep_control_in_memory) {
      write8(fadt.sleep_control, value);
    } else {
      out8(static_cast<uint16_t>(fadt.sleep_control), value);
    }
    return;
  }
  if (fadt.pm1a_control == 0) return;
  const auto sci_enable = static_cast<uint16_t>(in16(fadt.pm1a_control) & 1);
  out16(fadt.pm1a_control, static_cast<uint16_t>(kSleepEnable | (sleep_type & 7) << 10 | sci_enable));
}

}  // namespace

void power_off() {
  disable_interrupts();
  Fadt fadt;
  uint8_t sleep_type = 0;
  if (find_fadt(fadt) && find_s5(fadt, sleep_type)) {
    sleep_s5(fadt, sleep_type);
    for (int i = 0; i < 1000; i++) pause();
  }
  out8(0x64, 0xfe);
  triple_fault();
}

void triple_fault() {
  const struct [[gnu::packed]] {
    uint16_t limit;
    uint64_t base;
  } nothing = {0, 0};
  asm volatile("lidt %0; ud2" ::"m"(nothing));
  __builtin_unreachable();
}

}  // namespace guest
