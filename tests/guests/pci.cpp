// PCI by configuration mechanism 1: who is there, identities, BARs sized and moved, decoding switched off and
// on.
#include "tests/guests/runtime/pci.h"

#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"
#include "tests/guests/runtime/virtio.h"

namespace guest {
namespace {

constexpr PciAddress kHostBridge = {0, 0, 0};
constexpr PciAddress kIsaBridge = {0, 1, 0};

constinit VirtioDevice device = {};
constinit VirtQueue queue = {};
constinit BlockDriver driver = {};
alignas(4096) constinit uint8_t buffer[4096] = {};

void list_functions() {
  uint32_t count = 0;
  for_each_pci([&](PciAddress address) {
    count++;
    print("00:", Hex{address.device}, ".", address.function, " ", Hex{pci_read16(address, 0)}, ":",
          Hex{pci_read16(address, 2)}, " class ", Hex{pci_read32(address, 8) >> 8}, " subsystem ",
          Hex{pci_read32(address, 0x2c)}, " pin ", pci_read8(address, 0x3d), " line ",
          pci_read8(address, 0x3c));
  });
  check("functions on bus 0", count >= 2, count);
  check_equal("host bridge is an i440FX", pci_read32(kHostBridge, 0), 0x1237'8086);
  check_equal("host bridge class", pci_read32(kHostBridge, 8) >> 16, 0x0600);
  check_equal("ISA bridge is a PIIX3", pci_read32(kIsaBridge, 0), 0x7000'8086);
  check_equal("ISA bridge class", pci_read32(kIsaBridge, 8) >> 16, 0x0601);
  check("ISA bridge has several functions", (pci_read8(kIsaBridge, 0x0e) & 0x80) != 0);
}

void test_mechanism() {
  out32(0xcf8, 0x8000'0000);
  check_equal("address register holds what was written", in32(0xcf8), 0x8000'0000);
  check("bytes and words of a register agree",
        pci_read8(kHostBridge, 0) == 0x86 && pci_read8(kHostBridge, 1) == 0x80 &&
            pci_read8(kHostBridge, 2) == 0x37 && pci_read8(kHostBridge, 3) == 0x12 &&
            pci_read16(kHostBridge, 2) == 0x1237);
  out32(0xcf8, 0);
  check_equal("without the enable bit data reads all ones", in32(0xcfc), 0xffff'ffff);
  // The address register is a 32-bit one; other widths reach other ports.
  out32(0xcf8, 0x8000'0000);
  out8(0xcf8, 0x55);
  check_equal("a byte to the address register is not for it", in32(0xcf8), 0x8000'0000);
  check_equal("absent device", pci_read32({0, 31, 7}, 0), 0xffff'ffff);
  check_equal("absent bus", pci_read32({7, 0, 0}, 0), 0xffff'ffff);
  check_equal("absent function of a device with one", pci_read32({0, 0, 1}, 0), 0xffff'ffff);
  pci_write32({0, 31, 7}, 0x10, 0xffff'ffff);
  pci_write32(kHostBridge, 0, 0);
  check_equal("identities are read-only", pci_read32(kHostBridge, 0), 0x1237'8086);
}

// Byte writes in the middle of a register leave its neighbours alone; the interrupt line is a plain byte.
void test_byte_writes(PciAddress address) {
  const uint8_t line = pci_read8(address, 0x3c);
  const uint8_t pin = pci_read8(address, 0x3d);
  pci_write8(address, 0x3c, 0x5b);
  check("a byte write changes its byte alone",
        pci_read8(address, 0x3c) == 0x5b && pci_read8(address, 0x3d) == pin);
  pci_write8(address, 0x3c, line);
}

void test_bars() {
  bool good = true;
  uint32_t count = 0;
  for_each_pci([&](PciAddress address) {
    if ((pci_read8(address, 0x0e) & 0x7f) != 0) return;
    for (uint32_t i = 0; i < 6; i++) {
      const PciBar bar = pci_bar(address, i);
      if (!bar.exists) continue;
      count++;
      const bool power_of_two = bar.size >= (bar.io ? 4 : 16) && (bar.size & (bar.size - 1)) == 0;
      const bool placed = bar.address == 0 || bar.address % bar.size == 0;
      if (!power_of_two || !placed) {
        fail("BAR", "of device ", address.device, " number ", i, " size ", Hex{bar.size}, " at ",
             Hex{bar.address});
        good = false;
      }
      print("00:", Hex{address.device}, ".", address.function, " BAR ", i, bar.io ? " ports " : " memory ",
            Hex{bar.address}, " size ", Hex{bar.size}, bar.is_64_bits ? " 64-bit" : "");
      if (bar.is_64_bits) i++;
    }
  });
  check("BARs have sizes that are powers of two, and lie on them", good && count > 0);
}

bool disk_works() {
  return driver.start(device, queue, 0) && driver.request(kBlkIn, 0, buffer, sizeof buffer) == kBlkOk;
}

// The BAR of the common configuration.
uint32_t virtio_bar() {
  uint8_t cap = pci_capability(device.pci(), 9);
  while (cap != 0 && pci_read8(device.pci(), cap + 3U) != 1) cap = pci_capability(device.pci(), 9, cap);
  return pci_read8(device.pci(), cap + 4U);
}

// What an access that nobody answers reads: all ones on a PC, 0 in QEMU.
void check_nobody(const char* name, uint64_t address) {
  check_equal(name, read32(address), option_is("monitor", "qemu") ? 0 : 0xffff'ffff);
}

void test_decoding() {
  const PciAddress address = device.pci();
  const uint64_t common = device.common_;
  const uint16_t command = pci_read16(address, kPciCommand);
  pci_write16(address, kPciCommand, static_cast<uint16_t>(command & ~kPciCommandMemory));
  check_nobody("with memory decoding off nobody answers at a BAR", common + 0x04);
  pci_write16(address, kPciCommand, command);
  check("with memory decoding on again the disk works", disk_works());
}

void test_moving() {
  const PciAddress address = device.pci();
  const uint32_t index = virtio_bar();
  const PciBar bar = pci_bar(address, index);
  const uint64_t old_common = device.common_;
  const uint16_t command = pci_read16(address, kPciCommand);
  // Free in both machines: above what firmware and vmm give out, below the I/O APIC.
  constexpr uint64_t kPlaces[] = {0xe800'0000, 0xe000'0000, 0xd123'0000};
  bool works = true;
  for (uint64_t place : kPlaces) {
    place &= ~(bar.size - 1);
    pci_write16(address, kPciCommand, static_cast<uint16_t>(command & ~kPciCommandMemory));
    pci_set_bar(address, index, place);
    pci_write16(address, kPciCommand, command);
    works = works && pci_bar_address(address, index) == place && device.find(kVirtioBlock) &&
            device.common_ >= place && device.common_ < place + bar.size && disk_works();
  }
  check("a BAR is moved, and the disk works there", works, "last at ", Hex{device.common_});
  check_nobody("nothing is left at the old place", old_common + 0x04);
  // Without switching decoding off, half an address at a time, as careless systems do.
  pci_set_bar(address, index, bar.address);
  check("moved back with decoding on",
        device.find(kVirtioBlock) && device.common_ == old_common && disk_works());
}

// Over RAM a BAR must neither hide the memory nor crash anything; what such an access reads is not defined.
void test_bar_over_memory() {
  const PciAddress address = device.pci();
  const uint32_t index = virtio_bar();
  const uint64_t old_place = pci_bar_address(address, index);
  pci_set_bar(address, index, 0x0200'0000);
  pci_set_bar(address, index, 0xffff'f000);
  pci_set_bar(address, index, 0xfec0'0000);
  pci_set_bar(address, index, old_place);
  check("BARs at impossible places are survived", device.find(kVirtioBlock) && disk_works());
}

}  // namespace
}  // namespace guest

void guest::run() {
  if (!pci_present()) {
    check("no PCI where none is expected", option_number("pci", 1) == 0);
    return;
  }
  list_functions();
  test_mechanism();
  test_bars();
  if (!device.find(kVirtioBlock) || !device.is_pci()) return skip("disk", "no virtio-blk device on PCI");
  check("the disk works", disk_works());
  test_byte_writes(device.pci());
  test_decoding();
  test_moving();
  test_bar_over_memory();
}
