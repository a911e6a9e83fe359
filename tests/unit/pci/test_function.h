// A PCI function with BARs of every kind, and the accesses a guest makes to it through the configuration
// ports.
#pragma once

#include <cstdint>
#include <map>
#include <span>

#include "devices/pci/pci_bus.h"
#include "devices/pci/pci_function.h"
#include "tests/unit/fakes/port_access.h"
#include "vmm/core/layout.h"

namespace vmm::pci {

class ConstantDevice final : public BusDevice {
 public:
  explicit ConstantDevice(uint8_t value) : value_(value) {}
  void read(uint64_t /*offset*/, std::span<std::byte> data) override {
    std::ranges::fill(data, static_cast<std::byte>(value_));
  }
  void write(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override { ++writes; }
  int writes = 0;

 private:
  uint8_t value_;
};

// BAR 0: 256 ports; BAR 1: 4 KiB of 32-bit memory; BAR 2 and 3: 64 KiB of 64-bit memory.
class TestFunction final : public PciFunction {
 public:
  explicit TestFunction(uint8_t value = 0x5a)
      : PciFunction({.vendor_id = 0x1af4, .device_id = 0x1234, .class_code = 0xff0000, .interrupt_pin = 1}),
        registers(value) {
    add_bar(0, {.kind = BarKind::kIo, .length_bytes = 0x100, .device = &registers});
    add_bar(1, {.kind = BarKind::kMemory32, .length_bytes = 0x1000, .device = &registers});
    add_bar(2, {.kind = BarKind::kMemory64, .length_bytes = 0x10000, .device = &registers});
  }
  void bar_mapped(size_t bar, uint64_t address) override { mapped[bar] = address; }
  void bar_unmapped(size_t bar, uint64_t address) override {
    VMM_CHECK(mapped[bar] == address, "unmapped from elsewhere");
    mapped.erase(bar);
  }

  ConstantDevice registers;
  std::map<size_t, uint64_t> mapped;
};

// Configuration mechanism 1, as a guest uses it.
class ConfigAccess {
 public:
  explicit ConfigAccess(PciBus& bus) : bus_(bus) {}

  template <typename T>
  T read(PciAddress where, uint8_t offset) {
    select(where, offset);
    return in<T>(bus_.config_data(), offset & 3U);
  }
  template <typename T>
  void write(PciAddress where, uint8_t offset, T value) {
    select(where, offset);
    out<T>(bus_.config_data(), offset & 3U, value);
  }

 private:
  void select(PciAddress where, uint8_t offset) {
    const uint32_t address =
        0x8000'0000U | uint32_t{where.slot} << 11 | uint32_t{where.function} << 8 | (offset & 0xfcU);
    out<uint32_t>(bus_.config_address(), 0, address);
  }

  PciBus& bus_;
};

}  // namespace vmm::pci
