// Interrupt controllers: local APIC (xAPIC mode), I/O APIC, the two 8259.
#pragma once

#include <cstdint>

#include "tests/guests/runtime/cpu.h"

namespace guest {

inline constexpr uint64_t kLocalApic = 0xfee0'0000;

// Register offsets (SDM volume 3, table 11-1).
inline constexpr uint32_t kApicId = 0x20;
inline constexpr uint32_t kApicVersion = 0x30;
inline constexpr uint32_t kApicTaskPriority = 0x80;
inline constexpr uint32_t kApicEoi = 0xb0;
inline constexpr uint32_t kApicSpurious = 0xf0;
inline constexpr uint32_t kApicCommand = 0x300;
inline constexpr uint32_t kApicCommandHigh = 0x310;
inline constexpr uint32_t kApicTimer = 0x320;
inline constexpr uint32_t kApicLint0 = 0x350;
inline constexpr uint32_t kApicInitialCount = 0x380;
inline constexpr uint32_t kApicCurrentCount = 0x390;
inline constexpr uint32_t kApicDivide = 0x3e0;

inline constexpr uint32_t kApicMasked = 1 << 16;
inline constexpr uint32_t kApicDivideBy1 = 0xb;
inline constexpr uint8_t kSpuriousVector = 0xff;

inline uint32_t apic_read(uint32_t offset) { return read32(kLocalApic + offset); }
inline void apic_write(uint32_t offset, uint32_t value) { write32(kLocalApic + offset, value); }
inline void apic_eoi() { apic_write(kApicEoi, 0); }

void enable_local_apic();  // on this CPU
uint32_t local_apic_id();
// `command`: vector, delivery mode and so on, as in the low half of ICR. Waits, bounded, until it is
// delivered.
void send_ipi(uint32_t destination, uint32_t command);

// I/O APIC found in the MADT. A redirection entry: vector, flags; destination is the CPU that calls.
inline constexpr uint32_t kRouteMasked = 1 << 16;
inline constexpr uint32_t kRouteLevel = 1 << 15;
inline constexpr uint32_t kRouteActiveLow = 1 << 13;
inline constexpr uint32_t kRouteRemoteIrr = 1 << 14;
bool has_io_apic();
uint32_t io_apic_pins();
uint32_t io_apic_read(uint32_t index);
void io_apic_write(uint32_t index, uint32_t value);
void route(uint32_t gsi, uint32_t vector_and_flags);
void mask_all_routes();

// The 8259 pair, if there is one: vectors base..base+15; mask: bit n set is IRQ n masked.
void initialise_pic(uint8_t vector_base, uint16_t mask);
uint16_t pic_mask();
void set_pic_mask(uint16_t mask);
uint16_t pic_requests();
void pic_eoi(uint32_t irq);

}  // namespace guest
