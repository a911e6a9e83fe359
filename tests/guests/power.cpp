// The ways a machine ends or starts again, chosen by mode=… on the command line. On a way that restarts, a
// byte of CMOS memory, which outlives a reset, counts the starts: the second one powers off.
#include "tests/guests/runtime/power.h"

#include "tests/guests/runtime/acpi.h"
#include "tests/guests/runtime/apic.h"
#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"

namespace guest {
namespace {

constexpr uint8_t kCmosCounter = 0x7f;
constexpr uint16_t kScratch = 0x3f8 + 7;
constexpr uint16_t kExitPort = 0xf4;
constexpr uint16_t kPanicPort = 0x505;
constexpr uint8_t kFirstStart = 0xa1;
constexpr uint16_t kPowerButton = 1 << 8;  // PM1_STS and PM1_EN (ACPI 6.4, 4.8.3.1)
constexpr uint8_t kSciVector = 0x49;

constinit volatile uint32_t sci_count = 0;
constinit Fadt fadt = {};

uint8_t cmos(uint8_t index) {
  out8(0x70, index);
  return in8(0x71);
}

void set_cmos(uint8_t index, uint8_t value) {
  out8(0x70, index);
  out8(0x71, value);
}

// True on the second start of the machine.
bool started_before() {
  if (cmos(kCmosCounter) == kFirstStart) {
    set_cmos(kCmosCounter, 0);
    return true;
  }
  set_cmos(kCmosCounter, kFirstStart);
  return false;
}

[[noreturn]] void stop() {
  for (;;) asm volatile("cli; hlt");
}

void restart(void (*reset)()) {
  // A restarted machine is a fresh one: what was changed must be as it was at the first start.
  const bool serial_dirty = in8(kScratch) == 0x5a;
  const bool apic_dirty = apic_read(kApicInitialCount) != 0 || apic_read(kApicDivide) != 0;
  if (started_before()) {
    print("second start");
    check("serial port is reset", !serial_dirty);
    check("local APIC is reset", !apic_dirty);
    return;
  }
  print("first start");
  out8(kScratch, 0x5a);
  apic_write(kApicTimer, kApicMasked | kSpuriousVector);
  apic_write(kApicDivide, kApicDivideBy1);
  apic_write(kApicInitialCount, 0xffff'ffff);
  reset();
  wait_microseconds(2'000'000);
  fail("restart", "the machine goes on");
}

// Nothing is mapped there, and there is nobody to handle the fault.
void jump_to_nowhere() {
  const struct [[gnu::packed]] {
    uint16_t limit;
    uint64_t base;
  } nothing = {0, 0};
  asm volatile("lidt %0; jmp *%1" ::"m"(nothing), "r"(0x0000'4000'0000'0000ULL));
}

// It is mapped, but no memory is behind it: the CPU has nothing to execute.
void jump_into_the_hole() { asm volatile("jmp *%0" ::"r"(0xfd00'0000ULL)); }

// Lines enough to fill every pipe and buffer; at the end it must be all there, in order.
void flood_serial() {
  const uint64_t lines = option_number("lines", 1000);
  for (uint64_t i = 0; i < lines; i++)
    print("flood ", i, " ..............................................................");
  pass("flood");
}

void on_sci(InterruptFrame&) {
  const uint16_t status = in16(fadt.pm1a_event);
  if ((status & kPowerButton) != 0) sci_count = sci_count + 1;
  out16(fadt.pm1a_event, status);  // a set bit is cleared by writing it
  apic_eoi();
}

void wait_for_power_button() {
  static constinit Madt madt = {};
  if (!check("fixed power button", find_fadt(fadt) && fadt.power_button && find_madt(madt))) return;
  enable_local_apic();
  set_handler(kSciVector, on_sci);
  const uint16_t flags = madt.isa_flags[fadt.sci & 15];
  const uint32_t level = (flags >> 2 & 3) == 3 ? kRouteLevel : 0;
  const uint32_t low = (flags & 3) == 3 ? kRouteActiveLow : 0;
  route(madt.isa_gsi[fadt.sci & 15], kSciVector | level | low);
  out16(fadt.pm1a_event, kPowerButton);
  out16(static_cast<uint16_t>(fadt.pm1a_event + fadt.pm1_event_length / 2), kPowerButton);
  const auto acpi_mode = [] { return (in16(fadt.pm1a_control) & 1) != 0; };
  if (!acpi_mode() && fadt.smi_command != 0) out8(fadt.smi_command, fadt.acpi_enable);
  check("ACPI mode is on", wait_until(acpi_mode));
  print("press the power button");
  tsc_frequency();
  for (uint64_t start = tsc(); sci_count == 0 && tsc() - start < 20 * tsc_frequency();) {
    allow_interrupts();
  }
  check_equal("SCI by the power button", sci_count, 1);
  check("power button status is cleared", (in16(fadt.pm1a_event) & kPowerButton) == 0);
}

void reset_by_cf9() {
  out8(0xcf9, 0x02);  // hard reset is prepared, and happens with bit 2
  out8(0xcf9, 0x06);
}
void reset_by_i8042() { out8(0x64, 0xfe); }
void reset_by_port_92() { out8(0x92, static_cast<uint8_t>((in8(0x92) & ~1) | 1)); }
void reset_by_fadt() {
  if (find_fadt(fadt) && fadt.reset_supported && fadt.reset_port != 0)
    out8(fadt.reset_port, fadt.reset_value);
}

// The port that vmm has for it (<vmm:exit>), and what it reads as.
void exit_with_status() {
  check_equal("exit port", in8(kExitPort), 0xe5);
  print("exiting");
  out8(kExitPort, static_cast<uint8_t>(option_number("status", 0)));
}

// The ib700's port that starts its countdown: 30 seconds, less two for each unit.
constexpr uint16_t kWatchdogStart = 0x443;
constexpr uint16_t kWatchdogStop = 0x441;
constexpr uint8_t kTwoSeconds = 14;
constexpr uint8_t kAtOnce = 15;
constexpr uint8_t kNmiVector = 2;
constinit volatile uint32_t nmi_count = 0;

void on_nmi(InterruptFrame&) { nmi_count = nmi_count + 1; }

void feed_the_watchdog() {
  for (int i = 0; i < 6; i++) {
    out8(kWatchdogStart, kTwoSeconds);
    wait_microseconds(500'000);
  }
  out8(kWatchdogStop, 0);
  wait_microseconds(2'200'000);
  pass("a watchdog that is fed, and one that is stopped, let the guest live");
}

void wait_for_nmi() {
  set_handler(kNmiVector, on_nmi);
  for (uint32_t i = 1; i <= 3; i++) {
    out8(kWatchdogStart, kAtOnce);
    wait_until([i] { return nmi_count >= i; }, 5000);
    check_equal("NMIs by the watchdog", nmi_count, i);
  }
}

struct Mode {
  const char* name;
  void (*function)();
};
constexpr Mode kModes[] = {
    {"poweroff", [] { pass("power off"); }},
    {"reset-cf9", [] { restart(reset_by_cf9); }},
    {"reset-i8042", [] { restart(reset_by_i8042); }},
    {"reset-92", [] { restart(reset_by_port_92); }},
    {"reset-fadt",
     [] {
       if (!find_fadt(fadt) || !fadt.reset_supported)
         return skip("restart", "the FADT names no reset register");
       restart(reset_by_fadt);
     }},
    {"reset-triple", [] { restart(triple_fault); }},
    {"hang",
     [] {
       print("hanging");
       stop();
     }},
    {"spin",
     [] {
       print("spinning");
       for (;;) pause();
     }},
    {"crash-jump",
     [] {
       print("jumping");
       jump_to_nowhere();
     }},
    {"crash-hole",
     [] {
       print("jumping");
       jump_into_the_hole();
     }},
    {"flood-serial", flood_serial},
    {"power-button", wait_for_power_button},
    {"panic",
     [] {
       check_equal("events of the panic device", in8(kPanicPort), 0x03);
       out8(kPanicPort, 0x02);  // a crash kernel takes over: the host does nothing
       print("panicking");
       out8(kPanicPort, 0x01);
       stop();
     }},
    {"watchdog-reset", [] { restart([] { out8(kWatchdogStart, kAtOnce); }); }},
    {"watchdog-fed", feed_the_watchdog},
    {"watchdog-nmi", wait_for_nmi},
    {"watchdog-off",
     [] {
       print("starving");
       out8(kWatchdogStart, kAtOnce);
       wait_microseconds(5'000'000);
       fail("power off", "the machine goes on");
     }},
    {"exit", exit_with_status},
    {"exit-twice",
     [] {
       exit_with_status();
       out8(kExitPort, 99);
     }},
};

}  // namespace
}  // namespace guest

void guest::run() {
  for (const Mode& mode : kModes) {
    if (option_is("mode", mode.name)) return mode.function();
  }
  fail("mode", "the command line has none that is known: ", command_line());
}
