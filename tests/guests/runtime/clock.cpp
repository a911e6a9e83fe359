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
constexpr uint32_t kApicBusFrequency = 1'000'000'000;  // in KVM and in QEMU: the timer counts nanoseconds

constinit uint64_t frequency = 0;
constinit const char* frequency_source = "nothing";

struct Sample {
  uint32_t count;
  uint64_t tsc;
};

// A timer's count and the TSC at the same moment: of several readings the quickest, because a busy host may
// stop the CPU between the two.
template <class Read>
Sample sample(Read read) {
  Sample best = {};
  uint64_t best_gap = ~0ULL;
  for (int i = 0; i < 12; i++) {
    const uint64_t before = tsc();
    const uint32_t count = read();
    const uint64_t gap = tsc() - before;
    if (gap < best_gap) {
      best_gap = gap;
      best = {count, before + gap / 2};
    }
  }
  return best;
}

// `ticks(start, now)`: how many of them lie between two counts.
template <class Read, class Ticks>
bool measure(Read read, Ticks ticks, uint32_t timer_frequency, const char* name) {
  const Sample start = sample(read);
  for (uint32_t i = 0; ticks(start.count, read()) < timer_frequency / 100; i++) {
    if (i == kPatience) return false;
  }
  const Sample end = sample(read);
  frequency = (end.tsc - start.tsc) * timer_frequency / ticks(start.count, end.count);
  frequency_source = name;
  return true;
}

bool measure_by_pm_timer() {
  Fadt fadt;
  if (!find_fadt(fadt) || fadt.pm_timer == 0) return false;
  return measure([&] { return in32(fadt.pm_timer); },
                 [](uint32_t start, uint32_t now) { return (now - start) & 0xff'ffff; }, kPmTimerFrequency,
                 "PM timer");
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
  enable_local_apic();
  apic_write(kApicTimer, kApicMasked | kSpuriousVector);
  apic_write(kApicDivide, kApicDivideBy1);
  apic_write(kApicInitialCount, 0xffff'ffff);
  const bool done = measure([] { return apic_read(kApicCurrentCount); },
                            [](uint32_t start, uint32_t now) { return start - now; }, kApicBusFrequency,
                            "local APIC timer");
  apic_write(kApicInitialCount, 0);
  return done;
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
