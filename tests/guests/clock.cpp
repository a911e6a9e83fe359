// Clocks: the CMOS clock (MC146818), the ACPI PM timer, the PIT, the local APIC's timer and the TSC against
// each other.
#include "tests/guests/runtime/clock.h"

#include "tests/guests/runtime/acpi.h"
#include "tests/guests/runtime/apic.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"

namespace guest {
namespace {

constexpr uint8_t kStatusA = 0x0a;
constexpr uint8_t kStatusB = 0x0b;
constexpr uint8_t kStatusD = 0x0d;
constexpr uint8_t kUpdateInProgress = 0x80;
constexpr uint8_t kSet = 0x80;
constexpr uint8_t kBinary = 0x04;
constexpr uint8_t k24Hours = 0x02;

constinit Fadt fadt = {};

uint8_t cmos(uint8_t index) {
  out8(0x70, index);
  return in8(0x71);
}

void set_cmos(uint8_t index, uint8_t value) {
  out8(0x70, index);
  out8(0x71, value);
}

struct Time {
  uint32_t second, minute, hour, day, month, year;
};

uint32_t decode(uint8_t value, bool binary) { return binary ? value : (value >> 4) * 10U + (value & 15U); }

// Reads until two readings agree, outside of updates: what operating systems do.
bool read_clock(Time& time) {
  for (int i = 0; i < 10; i++) {
    if (!wait_until([] { return (cmos(kStatusA) & kUpdateInProgress) == 0; }, 100)) return false;
    const bool binary = (cmos(kStatusB) & kBinary) != 0;
    const uint32_t century = fadt.century != 0 ? decode(cmos(fadt.century), binary) : 20;
    const auto read = [&] {
      return Time{decode(cmos(0), binary), decode(cmos(2), binary), decode(cmos(4), binary),
                  decode(cmos(7), binary), decode(cmos(8), binary), century * 100 + decode(cmos(9), binary)};
    };
    time = read();
    if (memcmp(&time, &static_cast<const Time&>(read()), sizeof time) == 0) return true;
  }
  return false;
}

void test_cmos_clock() {
  if (cmos(kStatusD) != 0x80) return skip("CMOS clock", "there is none");
  Time now = {};
  if (!check("CMOS clock can be read", read_clock(now))) return;
  print("TIME ", now.year, "-", now.month, "-", now.day, " ", now.hour, ":", now.minute, ":", now.second);
  check("it shows a date", now.year >= 2024 && now.year < 2100 && now.month >= 1 && now.month <= 12 &&
                               now.day >= 1 && now.day <= 31 && now.hour < 24 && now.minute < 60 &&
                               now.second < 60);
  check("24 hours", (cmos(kStatusB) & k24Hours) != 0);
  // BCD and binary show the same hour, whichever was on first.
  const uint8_t mode = cmos(kStatusB);
  const uint32_t day = decode(cmos(7), (mode & kBinary) != 0);
  set_cmos(kStatusB, mode ^ kBinary);
  check_equal("the other of BCD and binary", decode(cmos(7), (mode & kBinary) == 0), day);
  set_cmos(kStatusB, mode);
  const uint8_t second = cmos(0);
  check("the second changes", wait_until([&] { return cmos(0) != second; }, 2500));
  set_cmos(0x50, 0xa7);
  check_equal("CMOS memory keeps a byte", cmos(0x50), 0xa7);
  check_equal("CMOS memory keeps it when others are written", (set_cmos(0x51, 1), cmos(0x50)), 0xa7);
}

// A clock that is set runs on from there, and the date carries.
void test_setting() {
  if (cmos(kStatusD) != 0x80) return;
  const uint8_t mode = cmos(kStatusB);
  const uint8_t saved[6] = {cmos(0), cmos(2), cmos(4), cmos(7), cmos(8), cmos(9)};
  const bool binary = (mode & kBinary) != 0;
  const auto encode = [&](uint32_t value) {
    return static_cast<uint8_t>(binary ? value : value / 10 * 16 + value % 10);
  };
  set_cmos(kStatusB, mode | kSet);
  const uint8_t new_year[6] = {encode(59), encode(59), encode(23), encode(28), encode(2), encode(24)};
  constexpr uint8_t kIndexes[6] = {0, 2, 4, 7, 8, 9};
  for (int i = 0; i < 6; i++) set_cmos(kIndexes[i], new_year[i]);
  set_cmos(kStatusB, mode);
  wait_until([&] { return cmos(2) == 0; }, 2500);
  Time now = {};
  read_clock(now);
  check("after 23:59:59 on 28 February 2024 it is 29 February",
        now.day == 29 && now.month == 2 && now.hour == 0 && now.minute == 0, now.year, "-", now.month, "-",
        now.day, " ", now.hour, ":", now.minute, ":", now.second);
  set_cmos(kStatusB, mode | kSet);
  for (int i = 0; i < 6; i++) set_cmos(kIndexes[i], saved[i]);
  set_cmos(kStatusB, mode);
}

// Two clocks agree when one of ten readings over 20 ms does within a part in 20: a busy host stretches some
// of them. `measure` answers what the other clock says, in microseconds, or 0: it does not work.
template <class Measure>
void check_agreement(const char* name, Measure measure) {
  uint64_t last = 0;
  for (int i = 0; i < 10; i++) {
    const uint64_t start = tsc();
    last = measure();
    const uint64_t wanted = (tsc() - start) * 1'000'000 / tsc_frequency();
    const uint64_t difference = last > wanted ? last - wanted : wanted - last;
    if (difference < wanted / 20) return pass(name);
  }
  fail(name, "the last of ten readings is ", last, " us, not 20000");
}

uint32_t pm_timer() { return in32(fadt.pm_timer) & (fadt.pm_timer_32_bits ? 0xffff'ffff : 0xff'ffff); }

void test_pm_timer() {
  if (fadt.pm_timer == 0) return skip("PM timer", "there is none");
  uint32_t last = pm_timer();
  const uint32_t first = last;
  bool forward = true;
  for (int i = 0; i < 200; i++) {
    const uint32_t now = pm_timer();
    forward = forward && (now >= last || first > 0xf0'0000);
    last = now;
  }
  check("PM timer counts upwards", forward && last != first);
  check_agreement("PM timer agrees with the TSC", [] {
    const uint32_t start = pm_timer();
    wait_microseconds(20'000);
    return uint64_t{(pm_timer() - start) & 0xff'ffff} * 1'000'000 / kPmTimerFrequency;
  });
}

void test_pit() {
  if (!start_pit_2(kPitFrequency / 50)) return skip("PIT", "there is none");
  if (!check("PIT counter 2 comes to its end", wait_until(pit_2_output))) return;
  check_agreement("PIT agrees with the TSC", [] {
    start_pit_2(kPitFrequency / 50);
    return wait_until(pit_2_output) ? uint64_t{20'000} : 0;
  });
  set_pit_0(2, 0xffff);
  const uint16_t first = read_pit_0();
  wait_microseconds(1000);
  const auto ticks = static_cast<uint16_t>(first - read_pit_0());
  check("PIT counter 0 counts downwards", ticks > 1000 && ticks < 20'000, ticks);
}

void test_apic_timer() {
  enable_local_apic();
  apic_write(kApicTimer, kApicMasked | kSpuriousVector);
  apic_write(kApicDivide, kApicDivideBy1);
  apic_write(kApicInitialCount, 0xffff'ffff);
  check_agreement("local APIC timer counts nanoseconds", [] {
    const uint32_t first = apic_read(kApicCurrentCount);
    wait_microseconds(20'000);
    return uint64_t{first - apic_read(kApicCurrentCount)} / 1000;
  });
  apic_write(kApicInitialCount, 0);
  check_equal("local APIC timer is stopped", apic_read(kApicCurrentCount), 0);
}

}  // namespace
}  // namespace guest

void guest::run() {
  check("FADT", find_fadt(fadt));
  print("TSC ", tsc_frequency(), " Hz by ", tsc_frequency_source());
  const uint64_t start = tsc();
  check("TSC advances", tsc() > start);
  test_pm_timer();
  test_pit();
  test_apic_timer();
  test_cmos_clock();
  test_setting();
}
