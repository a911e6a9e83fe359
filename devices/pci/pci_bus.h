// PciBus: bus 0, reached by configuration mechanism 1 (PCI Local Bus 3.0, section 3.2.2.3.2): the address
// latch at port 0xcf8, the data at 0xcfc to 0xcff.
//
// Threads: attach() while building; register accesses from any vCPU thread. As on hardware, address and data
// are two accesses: guests that use them from several CPUs lock.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/pci/bar_mapper.h"
#include "devices/pci/pci_function.h"
#include "vmm/base/error.h"
#include "vmm/core/io_bus.h"

namespace vmm::pci {

inline constexpr uint8_t kSlotCount = 32;
inline constexpr uint8_t kFunctionsPerSlot = 8;

enum class InterruptPin : uint8_t { kIntA = 0, kIntB = 1, kIntC = 2, kIntD = 3 };

// Which of PIRQA (0) to PIRQD (3) an interrupt pin of a slot on bus 0 is wired to. Slot 1's INTA# is PIRQA,
// and each further slot is turned by one. The ACPI _PRT must say the same.
constexpr uint32_t pirq_of(uint8_t slot, InterruptPin pin) {
  return (uint32_t{slot} + static_cast<uint32_t>(pin) + 3U) & 3U;  // + 3 is - 1, modulo 4
}

struct PciAddress {
  uint8_t slot = 0;      // 0 to 31
  uint8_t function = 0;  // 0 to 7
  friend bool operator==(const PciAddress&, const PciAddress&) = default;
};

class PciBus {
 public:
  struct State {
    uint32_t config_address = 0;
  };

  // reset_port answers byte accesses to port 0xcf9 (with offset 0), which lies inside the address latch's
  // ports; null: nobody does. BARs are mapped on `ports` and `memory`.
  PciBus(IoBus& ports, IoBus& memory, BusDevice* reset_port);

  // The function must outlive the bus's last access. An error where the place is taken.
  Status attach(PciAddress where, PciFunction& function);
  PciFunction* function_at(PciAddress where) const { return functions_[index_of(where)]; }

  // 4 ports, to be added at layout::kPciConfigAddress and layout::kPciConfigData.
  BusDevice& config_address() { return address_ports_; }
  BusDevice& config_data() { return data_ports_; }

  // All functions to their power-on state. REQUIRES: no vCPU runs.
  void reset();
  // After BARs were changed other than by the guest.
  void settle() { mapper_.settle(); }

  State state() const { return {.config_address = config_address_.load()}; }

 private:
  class AddressPorts final : public BusDevice {
   public:
    AddressPorts(PciBus& bus, BusDevice* reset_port) : bus_(bus), reset_port_(reset_port) {}
    void read(uint64_t offset, std::span<std::byte> data) override;
    void write(uint64_t offset, std::span<const std::byte> data) override;

   private:
    PciBus& bus_;
    BusDevice* reset_port_;
  };
  class DataPorts final : public BusDevice {
   public:
    explicit DataPorts(PciBus& bus) : bus_(bus) {}
    void read(uint64_t offset, std::span<std::byte> data) override;
    void write(uint64_t offset, std::span<const std::byte> data) override;

   private:
    PciBus& bus_;
  };

  static size_t index_of(PciAddress where) { return size_t{where.slot} * kFunctionsPerSlot + where.function; }
  PciFunction* addressed() const;
  uint8_t register_offset(uint64_t port_offset) const;

  std::array<PciFunction*, size_t{kSlotCount} * kFunctionsPerSlot> functions_{};
  std::atomic<uint32_t> config_address_{0};
  BarMapper mapper_;
  AddressPorts address_ports_;
  DataPorts data_ports_;
};

}  // namespace vmm::pci
