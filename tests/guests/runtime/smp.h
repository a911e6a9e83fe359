// Further CPUs, started by INIT and start-up IPIs (MP specification 1.4, B.4).
#pragma once

#include <cstdint>

namespace guest {

inline constexpr uint32_t kMaximumCpus = 64;

// Starts a CPU, which runs `function(number)` in ring 0 with interrupts disabled and then halts for good;
// `number` counts started CPUs from 1. False: it did not say within a second that it runs.
bool start_cpu(uint32_t apic_id, void (*function)(uint32_t number));

}  // namespace guest
