// PcChipset: what makes a machine a `pc`: the PCI bus with its host bridge, the ISA bridge that routes
// interrupts, and the power management function.
//
// Threads: built, reset and destroyed by the main thread while no vCPU runs.
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "devices/dma_controller.h"
#include "devices/ide/ide_controller.h"
#include "devices/pci/host_bridge.h"
#include "devices/pci/pci_bus.h"
#include "devices/pci/piix3.h"
#include "devices/pci/piix4_pm.h"
#include "vmm/base/error.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/io_bus.h"
#include "vmm/machine/isa_interrupts.h"

namespace vmm {

class PcChipset {
 public:
  static constexpr pci::PciAddress kIdeAddress = {.slot = 1, .function = 1};
  static constexpr uint8_t kFirstFreeSlot = 2;  // 0 is the host bridge, 1 the PIIX functions

  // power_block answers at the ports that the power management function says (already added at
  // layout::kPmBase). REQUIRES: everything passed outlives the chipset.
  static Result<std::unique_ptr<PcChipset>> create(IoBus& ports, IoBus& mmio, IsaInterrupts& interrupts,
                                                   BusDevice& reset_port, BusDevice& power_block);

  pci::PciBus& bus() { return bus_; }
  // A wire from pin INTA# of a slot.
  InterruptLine& intx(uint8_t slot) { return isa_bridge_.intx(slot, pci::InterruptPin::kIntA); }

  // The IDE controller, 00:01.1, without drives; made when it is first asked for: a guest that has no IDE
  // drive does not look for one. The memory outlives the chipset.
  Result<ide::IdeController*> ide(const GuestMemory& memory);

  // Gives every function its addresses, as firmware would. After all are attached, and after each reset().
  Status assign_resources();
  void reset();

 private:
  PcChipset(IoBus& ports, IoBus& mmio, IsaInterrupts& interrupts, BusDevice& reset_port,
            BusDevice& power_block);
  void move_power_block(std::optional<uint16_t> base);

  IoBus& ports_;
  IsaInterrupts& interrupts_;
  BusDevice& power_block_;
  std::optional<uint16_t> power_block_base_;

  DmaController dma_;
  pci::HostBridge host_bridge_;
  pci::Piix3 isa_bridge_;
  pci::Piix4Pm power_function_;
  std::unique_ptr<ide::IdeController> ide_;
  pci::PciBus bus_;
};

}  // namespace vmm
