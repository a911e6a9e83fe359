#include "tests/guests/runtime/acpi.h"

#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/start.h"

namespace guest {
namespace {

constexpr uint64_t kMapped = 0x1'0000'0000;
constexpr uint32_t kHeaderLength = 36;
constexpr uint32_t kLongestTable = 1 << 20;

bool signature_is(uint64_t address, const char* signature) {
  return memcmp(at<const char>(address), signature, strlen(signature)) == 0;
}

bool find_in(uint64_t root, uint32_t entry_size, const char* signature, AcpiTable& table) {
  const uint32_t length = read32(root + 4);
  for (uint32_t offset = kHeaderLength; offset + entry_size <= length && offset < kLongestTable;
       offset += entry_size) {
    const uint64_t entry = entry_size == 8 ? read64(root + offset) : read32(root + offset);
    if (entry == 0 || entry >= kMapped - kLongestTable || !signature_is(entry, signature)) continue;
    table = {entry, read32(entry + 4)};
    return table.length >= kHeaderLength && table.length < kLongestTable;
  }
  return false;
}

// A Generic Address Structure (5.2.3.2) that names a register in memory (space 0) or in port space (1).
bool read_address(uint64_t address, uint64_t& value, bool& in_memory) {
  const uint8_t space = read8(address);
  value = read64(address + 4);
  in_memory = space == 0;
  return space <= 1 && value != 0;
}

}  // namespace

bool checksum_holds(uint64_t address, uint32_t length) {
  uint8_t sum = 0;
  for (uint32_t i = 0; i < length; i++) sum = static_cast<uint8_t>(sum + read8(address + i));
  return sum == 0;
}

bool find_rsdp(uint64_t& address) {
  address = start_info().rsdp;
  if (address != 0 && address < kMapped - 64 && signature_is(address, "RSD PTR ")) return true;
  for (address = 0xe0000; address < 0x100000; address += 16) {
    if (signature_is(address, "RSD PTR ")) return true;
  }
  return false;
}

bool find_table(const char* signature, AcpiTable& table) {
  uint64_t rsdp = 0;
  if (!find_rsdp(rsdp)) return false;
  const uint8_t revision = read8(rsdp + 15);
  if (revision >= 2) {
    const uint64_t xsdt = read64(rsdp + 24);
    if (xsdt != 0 && xsdt < kMapped - kLongestTable) return find_in(xsdt, 8, signature, table);
  }
  const uint64_t rsdt = read32(rsdp + 16);
  return rsdt != 0 && find_in(rsdt, 4, signature, table);
}

bool find_fadt(Fadt& fadt) {
  AcpiTable table;
  if (!find_table("FACP", table) || table.length < 116) return false;
  const uint64_t t = table.address;
  uint64_t dsdt = read32(t + 40);
  if (table.length >= 148 && read64(t + 140) != 0) dsdt = read64(t + 140);
  if (dsdt == 0 || dsdt >= kMapped - kLongestTable || !signature_is(dsdt, "DSDT")) return false;
  fadt.dsdt = {dsdt, read32(dsdt + 4)};
  const uint32_t flags = read32(t + 112);
  fadt.hardware_reduced = (flags >> 20 & 1) != 0;
  fadt.power_button = !fadt.hardware_reduced && (flags >> 4 & 1) == 0;
  fadt.sci = read16(t + 46);
  if (!fadt.hardware_reduced) {
    fadt.smi_command = static_cast<uint16_t>(read32(t + 48));
    fadt.acpi_enable = read8(t + 52);
    fadt.pm1a_event = static_cast<uint16_t>(read32(t + 56));
    fadt.pm1a_control = static_cast<uint16_t>(read32(t + 64));
    fadt.pm_timer = static_cast<uint16_t>(read32(t + 76));
    fadt.pm1_event_length = read8(t + 88);
    fadt.pm_timer_32_bits = (flags >> 8 & 1) != 0;
  }
  fadt.century = read8(t + 108);
  uint64_t reset = 0;
  bool in_memory = false;
  if (table.length >= 129 && (flags >> 10 & 1) != 0 && read_address(t + 116, reset, in_memory)) {
    fadt.reset_supported = true;
    if (!in_memory) fadt.reset_port = static_cast<uint16_t>(reset);
    fadt.reset_value = read8(t + 128);
  }
  if (table.length >= 256) read_address(t + 244, fadt.sleep_control, fadt.sleep_control_in_memory);
  return true;
}

bool find_s5(const Fadt& fadt, uint8_t& sleep_type) {
  const uint32_t length = fadt.dsdt.length < kLongestTable ? fadt.dsdt.length : 0;
  for (uint32_t i = kHeaderLength; i + 10 <= length; i++) {
    const uint64_t name = fadt.dsdt.address + i;
    if (!signature_is(name, "_S5_") || read8(name + 4) != 0x12) continue;  // PackageOp
    // PkgLength is one to four bytes, as its first one says (20.2.4); then NumElements.
    uint64_t element = name + 5 + 1 + (read8(name + 5) >> 6) + 1;
    if (read8(element) == 0x0a) element++;  // BytePrefix; ZeroOp and OneOp stand for themselves
    sleep_type = read8(element) & 7;
    return true;
  }
  return false;
}

bool find_madt(Madt& madt) {
  AcpiTable table;
  if (!find_table("APIC", table) || table.length < 44) return false;
  madt.local_apic = read32(table.address + 36);
  madt.has_pic = (read32(table.address + 40) & 1) != 0;
  for (uint32_t i = 0; i < 16; i++) madt.isa_gsi[i] = i;
  uint32_t offset = 44;
  while (offset + 2 <= table.length) {
    const uint64_t entry = table.address + offset;
    const uint8_t type = read8(entry);
    const uint8_t length = read8(entry + 1);
    if (length < 2) return false;
    const bool cpu_enabled =
        (type == 0 && (read32(entry + 4) & 1) != 0) || (type == 9 && (read32(entry + 8) & 1) != 0);
    if (cpu_enabled && madt.cpu_count < 256) {
      madt.cpu_apic_ids[madt.cpu_count++] = type == 0 ? read8(entry + 3) : read32(entry + 4);
    } else if (type == 1 && madt.io_apic == 0) {
      madt.io_apic = read32(entry + 4);
      madt.io_apic_base = read32(entry + 8);
    } else if (type == 2 && read8(entry + 3) < 16) {
      madt.isa_gsi[read8(entry + 3)] = read32(entry + 4);
      madt.isa_flags[read8(entry + 3)] = read16(entry + 8);
    }
    offset += length;
  }
  return madt.cpu_count > 0;
}

}  // namespace guest
