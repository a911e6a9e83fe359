// Hostile: random accesses of every width to ports, to memory where devices are, and to PCI configuration
// space; all of them, but those that end or restart the machine as they should.
#include "tests/guests/hostile.h"
#include "tests/guests/runtime/acpi.h"
#include "tests/guests/runtime/apic.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"

namespace guest::hostile {
namespace {

constexpr uint32_t kRounds = 20'000;

struct PortRange {
  uint16_t first;
  uint16_t last;
};

// Where a write means: end, restart, or take a device away.
constexpr PortRange kNotToBeWritten[] = {
    {0x0060, 0x0064},                    // i8042: reset line, also by its output port
    {0x0092, 0x0092},                    // fast reset
    {0x00b2, 0x00b3},                    // SMI: firmware's
    {0x00f4, 0x00f4},                    // QEMU's debug exit
    {0x03f8, 0x03ff},                    // what we report on
    {0x0402, 0x0402},                    // debug port: it would fill the log
    {0x0510, 0x051b},                    // fw_cfg: its DMA writes where it is told
    {0x0600, 0x063f},                    // ACPI
    {0x0cd8, 0x0cd8},                    // QEMU's hotplug
    {0x0cf8, 0x0cff},                    // PCI configuration has a test of its own, and 0xcf9 is reset
    {0xae00, 0xaeff},                    // QEMU's hotplug: ejects
    {0xaf00, 0xaf1f}, {0xafe0, 0xafe3},  // GPE
    {0x5658, 0x565b},                    // QEMU's VMware port: commands in registers
};

// An access of up to four bytes from `port` touches none of them.
bool may_be_written(uint16_t port) {
  for (const PortRange& range : kNotToBeWritten) {
    if (port + 3 >= range.first && port <= range.last) return false;
  }
  return true;
}

// QEMU 7.2 ends by an assertion where a wide access goes over the edge of its serial port.
uint64_t with_width_for(uint64_t value) {
  return option_is("monitor", "qemu") ? value & ~(3ULL << 60) : value;
}

void write_port(uint16_t port, uint64_t value) {
  switch (value >> 60 & 3) {
    case 0:
      return out8(port, static_cast<uint8_t>(value));
    case 1:
      return out16(port, static_cast<uint16_t>(value));
    case 2:
      return out32(port, static_cast<uint32_t>(value));
    default:
      return out_string(port, reinterpret_cast<const char*>(buffer), value >> 50 & 63);
  }
}

void read_port(uint16_t port, uint64_t value) {
  uint64_t count = value >> 50 & 63;
  void* to = buffer;
  switch (value >> 60 & 3) {
    case 0:
      in8(port);
      return;
    case 1:
      in16(port);
      return;
    case 2:
      in32(port);
      return;
    default:
      asm volatile("rep insl" : "+D"(to), "+c"(count) : "d"(port) : "memory");
  }
}

// Half of them where devices usually are.
uint16_t random_port() {
  const uint64_t value = random();
  return static_cast<uint16_t>((value >> 40 & 1) != 0 ? value : value & 0x7ff);
}

void test_ports() {
  for (uint32_t port = 0; port < 0x1'0000; port++) in8(static_cast<uint16_t>(port));
  recovers("every port is read");
  for (uint32_t i = 0; i < kRounds; i++) read_port(random_port(), with_width_for(random()));
  recovers("random reads of ports");
  for (uint32_t i = 0; i < kRounds; i++) {
    const uint16_t port = random_port();
    if (may_be_written(port)) write_port(port, with_width_for(random()));
  }
  set_pic_mask(0xffff);
  recovers("random writes to ports");
}

// Not to be written: the local APIC, where messages reset CPUs, the I/O APIC, whose entries can say that an
// interrupt is an INIT, and QEMU's sleep and reset registers on microvm.
bool is_forbidden(uint64_t address) {
  return (address >= 0xfedf'fff0 && address < 0xfef0'0000) ||
         (address >= 0xfebf'fff0 && address < 0xfec0'1000) ||
         (address >= 0xfe9f'fff0 && address < 0xfea0'1000);
}

void access_memory(uint64_t address, uint64_t value, bool write) {
  switch (value >> 60 & 3) {
    case 0:
      return write ? write8(address, static_cast<uint8_t>(value)) : static_cast<void>(read8(address));
    case 1:
      return write ? write16(address, static_cast<uint16_t>(value)) : static_cast<void>(read16(address));
    case 2:
      return write ? write32(address, static_cast<uint32_t>(value)) : static_cast<void>(read32(address));
    default:
      return write ? write64(address, value) : static_cast<void>(read64(address));
  }
}

uint64_t random_device_address() {
  constexpr uint64_t kPlaces[] = {0xfed0'0000, 0xfeb0'0000, 0xfeff'c000, 0xfffe'0000};
  const uint64_t value = random();
  switch (value >> 40 & 3) {
    case 0:  // anywhere in the hole, but not where an access goes over 4 GiB
      return 0xc000'0000 + (value & 0x3fff'ffff) % 0x3fff'fff8;
    case 1:
      return kPlaces[(value >> 44) % 4] + (value & 0xfff);
    default:
      return device.common_ + (value & 0x3fff);
  }
}

void test_memory() {
  for (uint32_t i = 0; i < kRounds; i++) {
    const uint64_t address = random_device_address();
    if (!is_forbidden(address)) access_memory(address, random(), false);
  }
  recovers("random reads where devices are");
  for (uint32_t i = 0; i < kRounds; i++) {
    const uint64_t address = random_device_address();
    if (!is_forbidden(address)) access_memory(address, random(), true);
  }
  mask_all_routes();
  recovers("random writes where devices are");
}

constexpr uint32_t kMaximumFunctions = 16;
struct SavedFunction {
  PciAddress address;
  uint32_t registers[64] = {};
};
constinit SavedFunction saved[kMaximumFunctions] = {};

void restore(const SavedFunction& function) {
  // BARs before the command register, which switches them on.
  for (uint32_t i = 2; i < 64; i++) pci_write32(function.address, i * 4, function.registers[i]);
  pci_write32(function.address, kPciCommand, function.registers[1] & 0xffff);
}

// Everything of the function but bridges' own registers, which move firmware and reset lines under QEMU.
void write_randomly(const SavedFunction& function) {
  const bool bridge = (function.registers[2] >> 24) == 6;
  for (uint32_t i = 0; i < 2000; i++) {
    const uint64_t value = random();
    const uint32_t offset = bridge ? value >> 32 & 0x3f : value >> 32 & 0xff;
    switch (value >> 60 & 3) {
      case 0:
        pci_write8(function.address, offset, static_cast<uint8_t>(value));
        break;
      case 1:
        pci_write16(function.address, offset & ~1U, static_cast<uint16_t>(value));
        break;
      default:
        pci_write32(function.address, offset & ~3U, static_cast<uint32_t>(value));
        break;
    }
    if ((value >> 56 & 15) == 0) read32(device.common_);
  }
}

void test_configuration_space() {
  uint32_t count = 0;
  for_each_pci([&](PciAddress address) {
    if (count == kMaximumFunctions) return;
    saved[count].address = address;
    for (uint32_t i = 0; i < 64; i++) saved[count].registers[i] = pci_read32(address, i * 4);
    count++;
  });
  for (uint32_t i = 0; i < count; i++) {
    write_randomly(saved[i]);
    restore(saved[i]);
  }
  for (uint32_t i = 0; i < count; i++) restore(saved[i]);
  if (count != 0) recovers("random writes to configuration space");
  for (uint32_t i = 0; i < 4000 && count != 0; i++) {
    const uint64_t value = random();
    out32(0xcf8, static_cast<uint32_t>(value));
    const auto port = static_cast<uint16_t>(0xcfc + (value >> 32 & 3));
    read_port(port, (value & ~(3ULL << 60)) | (value >> 34 & 1) << 60);
  }
  if (count != 0) recovers("reads of configuration space through random addresses");
}

}  // namespace

void test_random_accesses() {
  test_configuration_space();
  test_memory();
  test_ports();
}

}  // namespace guest::hostile
