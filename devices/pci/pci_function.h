// PciFunction: one function on the bus: its configuration space, its base address registers and its expansion
// ROM's (PCI Local Bus 3.0, sections 6.1, 6.2.5 and 6.2.5.2). Devices derive from it.
//
// Threads: configuration accesses come from vCPU threads, guarded by config_mutex_. BARs are described before
// the function is on a bus, and constant after it. bar_mapped() and bar_unmapped() come from vCPU threads (or
// the builder's), never two at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "devices/pci/config_space.h"
#include "devices/pci/expansion_rom.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/core/io_bus.h"

namespace vmm::pci {

enum class BarKind : uint8_t { kNone, kIo, kMemory32, kMemory64, kRom };

// What one base address register decodes. A kMemory64 BAR takes the next register too.
struct Bar {
  BarKind kind = BarKind::kNone;
  uint64_t length_bytes = 0;  // a power of two; at least 4 (I/O) or 16 (memory)
  BusDevice* device = nullptr;
};

inline constexpr size_t kBarCount = 6;
// Behind the BARs, and treated as one of them, is the expansion ROM's register.
inline constexpr size_t kRomBar = kBarCount;
inline constexpr size_t kRegionCount = kBarCount + 1;

class PciFunction {
 public:
  virtual ~PciFunction() = default;
  PciFunction(const PciFunction&) = delete;
  PciFunction& operator=(const PciFunction&) = delete;

  // Configuration accesses of 1, 2 or 4 bytes, not across a dword.
  virtual void read_config(uint8_t offset, std::span<std::byte> data) VMM_EXCLUDES(config_mutex_);
  virtual void write_config(uint8_t offset, std::span<const std::byte> data) VMM_EXCLUDES(config_mutex_);

  // To the power-on state (RST#). REQUIRES: no vCPU runs. Whoever calls it then lets the bus settle.
  virtual void reset() VMM_EXCLUDES(config_mutex_);

  // Gives it an expansion ROM. REQUIRES: as ExpansionRom; it has none, and is not on a bus.
  void set_expansion_rom(std::vector<std::byte> content) VMM_EXCLUDES(config_mutex_);

  // Where a BAR is mapped on the bus by now, with its notification registers; bar_unmapped comes before the
  // bus forgets it.
  virtual void bar_mapped(size_t /*bar*/, uint64_t /*address*/) {}
  virtual void bar_unmapped(size_t /*bar*/, uint64_t /*address*/) {}

  const std::array<Bar, kRegionCount>& bars() const { return bars_; }
  // Where the BAR should be decoded at present; nothing where decoding is off (that of the ROM is off in its
  // own register, too) or the address is none (0, or the range would leave its space).
  std::optional<uint64_t> decoded_address(size_t bar) const VMM_EXCLUDES(config_mutex_);

  // What firmware does to a function: gives a BAR its address, and turns decoding on, but for the ROM's.
  void assign_bar(size_t bar, uint64_t address) VMM_EXCLUDES(config_mutex_);
  void enable_decoding() VMM_EXCLUDES(config_mutex_);
  void set_interrupt_line(uint8_t irq) VMM_EXCLUDES(config_mutex_);
  uint8_t interrupt_pin() const VMM_EXCLUDES(config_mutex_);

  ConfigSpace::State config_state() const VMM_EXCLUDES(config_mutex_);

 protected:
  explicit PciFunction(const Identity& identity) : config_(identity) {}
  // Constructors only. REQUIRES: the register (and the next for kMemory64) is free.
  void add_bar(size_t index, const Bar& bar);

  mutable Mutex config_mutex_;
  ConfigSpace config_ VMM_GUARDED_BY(config_mutex_);

 private:
  uint64_t bar_register(size_t bar) const VMM_REQUIRES(config_mutex_);

  std::array<Bar, kRegionCount> bars_{};
  std::optional<ExpansionRom> rom_;
};

}  // namespace vmm::pci
