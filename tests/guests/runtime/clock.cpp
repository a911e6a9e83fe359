#include "tests/guests/runtime/clock.h"

#include "tests/guests/runtime/acpi.h"
#include "tests/guests/runtime/apic.h"

namespace guest {
namespace {

constexpr uint16_t kPit0 = 0x40;
constexpr uint16_t kPit2 = 0x42;
constexpr uint16_t kPitControl = 0x43;
constexpr uint16_t kSystemControlB = 0x61;
constexpr uint32_t kPatience = 3'000'000;
constexpr uint64_t kApicBusFrequency = 1'000'000'000;  // in KVM and in QEMU: the timer counts nanoseconds

constinit uint64_t frequency = 0;
constinit const char* frequency_source = "nothing";

bool measure_by_pm_timer() {
  Fadt fadt;
  if (!find_fadt(fadt) || fadt.pm_timer == 0) return false;
  const auto now = [&] { return in32(fadt.pm_timer) & 0xff'ffff; };
  const uint32_t start = now();
  const uint64_t start_tsc = tsc();
  uint32_t ticks = 0;
  for (uint32_t i = 0; ticks < kPmTimerFrequency / 100; i++) {
    if (i == kPatience) return false;
    ticks = (now() - start) & 0xff'ffff;
  }
  frequency = (tsc() - start_tsc) * kPmTimerFrequency / ticks;
  frequency_source = "PM timer";
  return true;
}

bool measure_by_pit() {
  constexpr uint16_t kTicks = kPitFrequency / 100;
  if (!start_pit_2(kTicks)) return false;
  const uint64_t start_tsc = tsc();
  for (uint32_t i = 0; !pit_2_output(); i++) {
    if (i == kPatience) return false;
  }
  frequency = (tsc() - start_tsc) * kPitFrequency / kTicks;
  frequency_source = "PIT";
  return true;
}

bool measure_by_apic_timer() {
  constexpr uint32_t kTicks = kApicBusFrequency / 100;
  enable_local_apic();
  apic_write(kApicTimer, kApicMasked | kSpuriousVector);
  apic_write(kApicDivide, kApicDivideBy1);
  apic_write(kApicInitialCount, 0xffff'ffff);
  const uint32_t start = apic_read(kApicCurrentCount);
  const uint64_t start_tsc = tsc();
  uint32_t ticks = 0;
  for (uint32_t i = 0; ticks < kTicks; i++) {
    if (i == kPatience) return false;
    ticks = start - apic_read(kApicCurrentCount);
  }
  frequency = (tsc() - start_tsc) * kApicBusFrequency / ticks;
  frequency_source = "local APIC timer";
  apic_write(kApicInitialCount, 0);
  return true;
}

}  // namespace

uint64_t tsc_frequency() {
  if (frequency != 0) return frequency;
  if (!measure_by_pm_timer() && !measure_by_pit() && !measure_by_apic_timer()) frequency = 1'000'000'000;
  return frequency;
}

const char* tsc_frequency_source() {
  tsc_frequency();
  return frequency_source;
}

void wait_microseconds(uint64_t microseconds) {
  const uint64_t start = tsc();
  const uint64_t ticks = tsc_frequency() * microseconds / 1'000'000;
  while (tsc() - start < ticks) pause();
}

bool start_pit_2(uint16_t count) {
  out8(kSystemControlB, static_cast<uint8_t>((in8(kSystemControlB) & ~2) | 1));  // gate on, speaker off
  out8(kPitControl, 0xb0);  // counter 2, both bytes, mode 0
  out8(kPit2, static_cast<uint8_t>(count));
  out8(kPit2, static_cast<uint8_t>(count >> 8));
  const uint8_t status = in8(kSystemControlB);
  return status != 0xff && !pit_2_output();
}

bool pit_2_output() { return (in8(kSystemControlB) & 0x20) != 0; }

void set_pit_0(uint8_t mode, uint16_t count) {
  out8(kPitControl, static_cast<uint8_t>(0x30 | mode << 1));
  out8(kPit0, static_cast<uint8_t>(count));
  out8(kPit0, static_cast<uint8_t>(count >> 8));
}

uint16_t read_pit_0() {
  out8(kPitControl, 0x00);  // latch counter 0
  const uint8_t low = in8(kPit0);
  return static_cast<uint16_t>(low | in8(kPit0) << 8);
}

}  // namespace guest
