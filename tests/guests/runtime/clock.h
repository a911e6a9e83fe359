// Time: the frequency of the TSC from whatever the machine has to measure it by, and bounded waiting.
#pragma once

#include <cstdint>

namespace guest {

// Ticks per second; measured once, against the PM timer, the PIT, or the local APIC's timer, and `source`
// says which.
uint64_t tsc_frequency();
const char* tsc_frequency_source();

// Waits until `condition()` or until the time is over; false: it is over. Polls, and so works in ring 3.
template <class Condition>
bool wait_until(Condition condition, uint64_t milliseconds = 1000);

void wait_microseconds(uint64_t microseconds);

// PIT counter 2, gated by port 0x61, which raises no interrupt: counts 1193182 Hz downwards. False: there is
// no PIT.
inline constexpr uint32_t kPitFrequency = 1193182;
bool start_pit_2(uint16_t count);
bool pit_2_output();
void set_pit_0(uint8_t mode, uint16_t count);
uint16_t read_pit_0();

inline constexpr uint32_t kPmTimerFrequency = 3579545;

}  // namespace guest

#include "tests/guests/runtime/cpu.h"

namespace guest {

template <class Condition>
bool wait_until(Condition condition, uint64_t milliseconds) {
  const uint64_t start = tsc();
  const uint64_t limit = tsc_frequency() / 1000 * milliseconds;
  while (!condition()) {
    if (tsc() - start > limit) return condition();
    pause();
  }
  return true;
}

}  // namespace guest
