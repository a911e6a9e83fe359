// The PIIX3 ISA bridge, 00:01.0 (Intel 290550): routes the four PCI interrupt wires PIRQA# to PIRQD# to ISA
// IRQs.
//
// Threads: intx() while building; wires are set and configuration is written from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>

#include "devices/pci/pci_bus.h"
#include "devices/pci/pci_function.h"
#include "devices/pci/settler.h"
#include "vmm/core/interrupt.h"

namespace vmm::pci {

inline constexpr size_t kIsaIrqCount = 16;
inline constexpr size_t kPirqCount = 4;

class Piix3 final : public PciFunction {
 public:
  // What the PIRQs are routed to; null: that IRQ goes nowhere. The lines should have no other user: levels
  // are OR-ed here. PIRQRC is preset to layout::kPciIrqs.
  explicit Piix3(const std::array<InterruptLine*, kIsaIrqCount>& irqs);

  // A new wire from one pin of one slot. It lives as long as this bridge.
  InterruptLine& intx(uint8_t slot, InterruptPin pin);

  void write_config(uint8_t offset, std::span<const std::byte> data) override;
  void reset() override;

 private:
  class Wire final : public InterruptLine {
   public:
    Wire(Piix3& bridge, uint32_t pirq) : bridge_(bridge), pirq_(pirq) {}
    void set(bool level) override;

   private:
    Piix3& bridge_;
    uint32_t pirq_;
    std::atomic<bool> level_{false};
  };

  void apply() VMM_EXCLUDES(config_mutex_);
  std::array<bool, kIsaIrqCount> wanted_levels() const VMM_EXCLUDES(config_mutex_);

  const std::array<InterruptLine*, kIsaIrqCount> irqs_;
  std::deque<Wire> wires_;
  std::array<std::atomic<uint32_t>, kPirqCount> asserted_{};  // wires at high level, by PIRQ
  Settler settler_;
  std::array<bool, kIsaIrqCount> applied_{};  // the settling thread only
};

}  // namespace vmm::pci
