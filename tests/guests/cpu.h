// What the parts of the CPU program share.
#pragma once

#include <cstdint>

namespace guest {

// QEMU's emulator does not fault where a reserved bit or an unknown MSR is written.
bool is_tcg();

void test_modes();
void test_faults();
void test_topology();
void test_features();  // expect-absent=…, expect-present=… on the command line
void test_vector_registers();
void test_hypervisor();
void test_tsc_deadline();

}  // namespace guest
