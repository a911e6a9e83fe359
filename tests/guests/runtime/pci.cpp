#include "tests/guests/runtime/pci.h"

#include "tests/guests/runtime/cpu.h"

namespace guest {
namespace {

constexpr uint16_t kConfigAddress = 0xcf8;
constexpr uint16_t kConfigData = 0xcfc;

void select(PciAddress address, uint32_t offset) {
  out32(kConfigAddress, 0x8000'0000 | uint32_t{address.bus} << 16 | uint32_t{address.device} << 11 |
                            uint32_t{address.function} << 8 | (offset & 0xfc));
}

uint16_t data_port(uint32_t offset) { return static_cast<uint16_t>(kConfigData + (offset & 3)); }

}  // namespace

uint32_t pci_read32(PciAddress address, uint32_t offset) {
  select(address, offset);
  return in32(kConfigData);
}
uint16_t pci_read16(PciAddress address, uint32_t offset) {
  select(address, offset);
  return in16(data_port(offset));
}
uint8_t pci_read8(PciAddress address, uint32_t offset) {
  select(address, offset);
  return in8(data_port(offset));
}
void pci_write32(PciAddress address, uint32_t offset, uint32_t value) {
  select(address, offset);
  out32(kConfigData, value);
}
void pci_write16(PciAddress address, uint32_t offset, uint16_t value) {
  select(address, offset);
  out16(data_port(offset), value);
}
void pci_write8(PciAddress address, uint32_t offset, uint8_t value) {
  select(address, offset);
  out8(data_port(offset), value);
}

bool pci_present() {
  out32(kConfigAddress, 0x8000'0000);
  return in32(kConfigAddress) == 0x8000'0000 && in32(kConfigData) != 0xffff'ffff;
}

bool pci_exists(PciAddress address) { return pci_read16(address, 0) != 0xffff; }

uint8_t pci_capability(PciAddress address, uint8_t id, uint8_t after) {
  if ((pci_read16(address, 6) & 0x10) == 0) return 0;
  uint8_t offset = pci_read8(address, after == 0 ? 0x34 : after + 1U);
  for (int hops = 0; hops < 48 && offset >= 0x40; hops++) {
    if (pci_read8(address, offset) == id) return offset;
    offset = pci_read8(address, offset + 1U);
  }
  return 0;
}

PciBar pci_bar(PciAddress address, uint32_t index) {
  const uint32_t offset = kPciBar0 + index * 4;
  const uint16_t command = pci_read16(address, kPciCommand);
  pci_write16(address, kPciCommand, static_cast<uint16_t>(command & ~(kPciCommandIo | kPciCommandMemory)));
  const uint32_t low = pci_read32(address, offset);
  pci_write32(address, offset, 0xffff'ffff);
  const uint32_t mask = pci_read32(address, offset);
  pci_write32(address, offset, low);
  PciBar bar;
  bar.exists = mask != 0;
  bar.io = (mask & 1) != 0;
  bar.is_64_bits = !bar.io && (mask & 6) == 4;
  bar.prefetchable = !bar.io && (mask & 8) != 0;
  const uint32_t flags = bar.io ? 3 : 15;
  bar.address = low & ~flags;
  uint64_t wide = 0xffff'ffff'0000'0000 | (mask & ~flags);
  if (bar.io) wide |= 0xffff'0000;
  if (bar.is_64_bits) {
    const uint32_t high = pci_read32(address, offset + 4);
    pci_write32(address, offset + 4, 0xffff'ffff);
    wide = uint64_t{pci_read32(address, offset + 4)} << 32 | (mask & ~flags);
    pci_write32(address, offset + 4, high);
    bar.address |= uint64_t{high} << 32;
  }
  bar.size = ~wide + 1;
  pci_write16(address, kPciCommand, command);
  return bar;
}

void pci_set_bar(PciAddress address, uint32_t index, uint64_t value) {
  const uint32_t offset = kPciBar0 + index * 4;
  const bool is_64_bits = (pci_read32(address, offset) & 7) == 4;
  pci_write32(address, offset, static_cast<uint32_t>(value));
  if (is_64_bits) pci_write32(address, offset + 4, static_cast<uint32_t>(value >> 32));
}

uint64_t pci_bar_address(PciAddress address, uint32_t index) {
  const uint32_t offset = kPciBar0 + index * 4;
  const uint32_t low = pci_read32(address, offset);
  if ((low & 1) != 0) return low & ~3U;
  const uint64_t high = (low & 6) == 4 ? pci_read32(address, offset + 4) : 0;
  return high << 32 | (low & ~15U);
}

}  // namespace guest
