#include "devices/pci/pci_bus.h"

#include <algorithm>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::pci {
namespace {

constexpr uint32_t kConfigEnable = 1U << 31;
// Bits 30:24 and 1:0 read as zero.
constexpr uint32_t kConfigAddressBits = 0x80ff'fffc;
constexpr uint64_t kResetPortOffset = 1;

void all_ones(std::span<std::byte> data) { std::ranges::fill(data, std::byte{0xff}); }

// Whether [offset, offset + length) touches the command register, a BAR or the expansion ROM's.
bool changes_decoding(uint8_t offset, size_t length) {
  const size_t end = offset + length;
  const bool hits_command = offset < kStatus && end > kCommand;
  const bool hits_bars = offset < kBar0 + 4 * kBarCount && end > kBar0;
  const bool hits_rom = offset < kExpansionRom + 4 && end > kExpansionRom;
  return hits_command || hits_bars || hits_rom;
}

}  // namespace

PciBus::PciBus(IoBus& ports, IoBus& memory, BusDevice* reset_port)
    : mapper_(ports, memory), address_ports_(*this, reset_port), data_ports_(*this) {}

Status PciBus::attach(PciAddress where, PciFunction& function) {
  VMM_CHECK(where.slot < kSlotCount && where.function < kFunctionsPerSlot, "no such PCI address");
  PciFunction*& place = functions_[index_of(where)];
  if (place != nullptr) {
    return fail_configuration("two devices at PCI address 0000:00:{:02x}.{}: give one of them another slot",
                              where.slot, where.function);
  }
  place = &function;
  mapper_.add(function);
  return {};
}

void PciBus::reset() {
  config_address_ = 0;
  for (PciFunction* function : functions_) {
    if (function != nullptr) {
      function->reset();
    }
  }
  mapper_.settle();
}

PciFunction* PciBus::addressed() const {
  const uint32_t address = config_address_.load(std::memory_order_relaxed);
  const uint32_t bus = (address >> 16) & 0xff;
  if ((address & kConfigEnable) == 0 || bus != 0) {
    return nullptr;
  }
  return functions_[(address >> 8) & 0xff];
}

uint8_t PciBus::register_offset(uint64_t port_offset) const {
  return static_cast<uint8_t>((config_address_.load(std::memory_order_relaxed) & 0xfc) + port_offset);
}

void PciBus::AddressPorts::read(uint64_t offset, std::span<std::byte> data) {
  if (offset == 0 && data.size() == 4) {
    store_le_sized(data, bus_.config_address_.load(std::memory_order_relaxed));
  } else if (offset == kResetPortOffset && data.size() == 1 && reset_port_ != nullptr) {
    reset_port_->read(0, data);
  } else {
    all_ones(data);
  }
}

void PciBus::AddressPorts::write(uint64_t offset, std::span<const std::byte> data) {
  if (offset == 0 && data.size() == 4) {
    bus_.config_address_.store(load_le<uint32_t>(data.data()) & kConfigAddressBits,
                               std::memory_order_relaxed);
  } else if (offset == kResetPortOffset && data.size() == 1 && reset_port_ != nullptr) {
    reset_port_->write(0, data);
  }
}

void PciBus::DataPorts::read(uint64_t offset, std::span<std::byte> data) {
  PciFunction* function = bus_.addressed();
  if (function == nullptr || offset + data.size() > 4) {
    all_ones(data);
    return;
  }
  function->read_config(bus_.register_offset(offset), data);
}

void PciBus::DataPorts::write(uint64_t offset, std::span<const std::byte> data) {
  PciFunction* function = bus_.addressed();
  if (function == nullptr || offset + data.size() > 4) {
    return;
  }
  const uint8_t place = bus_.register_offset(offset);
  function->write_config(place, data);
  if (changes_decoding(place, data.size())) {
    bus_.mapper_.settle();
  }
}

}  // namespace vmm::pci
