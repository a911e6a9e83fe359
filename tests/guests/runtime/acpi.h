// As much of ACPI 6.4 as programs need to find CPUs, interrupt controllers, ports and the way to power off.
#pragma once

#include <cstdint>

namespace guest {

struct AcpiTable {
  uint64_t address = 0;
  uint32_t length = 0;
};

bool find_rsdp(uint64_t& address);
// By signature, such as "APIC", through XSDT or RSDT. The checksum is not looked at: checksum_holds() does.
bool find_table(const char* signature, AcpiTable& table);
bool checksum_holds(uint64_t address, uint32_t length);

struct Fadt {
  AcpiTable dsdt;
  uint16_t sci = 0;
  uint16_t smi_command = 0;
  uint8_t acpi_enable = 0;  // written there, it switches ACPI mode on
  uint16_t pm1a_event = 0;  // 0: none, here and below
  uint16_t pm1a_control = 0;
  uint8_t pm1_event_length = 0;
  uint16_t pm_timer = 0;
  bool pm_timer_32_bits = false;
  bool power_button = false;  // a fixed one
  bool hardware_reduced = false;
  uint64_t sleep_control = 0;
  bool sleep_control_in_memory = false;
  uint8_t century = 0;  // index in CMOS
  bool reset_supported = false;
  uint16_t reset_port = 0;  // 0: not a port
  uint8_t reset_value = 0;
};
bool find_fadt(Fadt& fadt);

// SLP_TYPa of \_S5, looked for in the bytes of the DSDT; bounded.
bool find_s5(const Fadt& fadt, uint8_t& sleep_type);

struct Madt {
  uint64_t local_apic = 0;
  uint32_t cpu_count = 0;
  uint32_t cpu_apic_ids[256] = {};
  uint64_t io_apic = 0;  // 0: none
  uint32_t io_apic_base = 0;
  bool has_pic = false;
  // Global interrupt and flags (polarity in bits 0-1, trigger in 2-3) of each ISA interrupt.
  uint32_t isa_gsi[16] = {};
  uint16_t isa_flags[16] = {};
};
bool find_madt(Madt& madt);

}  // namespace guest
