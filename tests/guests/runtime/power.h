// The end of the machine.
#pragma once

namespace guest {

// ACPI S5, by what FADT and DSDT say; where there are no such tables, everything else that ends a machine.
[[noreturn]] void power_off();

// Loads an empty interrupt table and faults: the third fault shuts the CPU down.
[[noreturn]] void triple_fault();

}  // namespace guest
