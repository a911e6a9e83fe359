#include "vmm/machine/pc_chipset.h"

#include "devices/acpi_power.h"
#include "devices/pci/assign_resources.h"
#include "vmm/base/log.h"
#include "vmm/core/layout.h"

namespace vmm {
namespace {

constexpr uint64_t kPciPorts = 4;

// The IRQs that PIIX3 can route a PIRQ to (Intel 290550, section 2.2.7).
std::array<InterruptLine*, pci::kIsaIrqCount> routable_irqs(IsaInterrupts& interrupts) {
  std::array<InterruptLine*, pci::kIsaIrqCount> lines{};
  for (const uint32_t irq : {3U, 4U, 5U, 6U, 7U, 9U, 10U, 11U, 12U, 14U, 15U}) {
    lines[irq] = &interrupts.make_input(irq);
  }
  return lines;
}

}  // namespace

PcChipset::PcChipset(IoBus& ports, IoBus& mmio, IsaInterrupts& interrupts, BusDevice& reset_port,
                     BusDevice& power_block)
    : ports_(ports),
      interrupts_(interrupts),
      power_block_(power_block),
      power_block_base_(layout::kPmBase),
      isa_bridge_(routable_irqs(interrupts)),
      power_function_([this](std::optional<uint16_t> base) { move_power_block(base); }),
      bus_(ports, mmio, &reset_port) {}

Result<std::unique_ptr<PcChipset>> PcChipset::create(IoBus& ports, IoBus& mmio, IsaInterrupts& interrupts,
                                                     BusDevice& reset_port, BusDevice& power_block) {
  std::unique_ptr<PcChipset> chipset(new PcChipset(ports, mmio, interrupts, reset_port, power_block));
  VMM_TRY(chipset->bus_.attach({.slot = 0, .function = 0}, chipset->host_bridge_));
  VMM_TRY(chipset->bus_.attach({.slot = 1, .function = 0}, chipset->isa_bridge_));
  VMM_TRY(chipset->bus_.attach({.slot = 1, .function = 3}, chipset->power_function_));
  VMM_TRY(ports.add(layout::kPciConfigAddress, kPciPorts, chipset->bus_.config_address()));
  VMM_TRY(ports.add(layout::kPciConfigData, kPciPorts, chipset->bus_.config_data()));
  VMM_TRY(ports.add(layout::kDmaMaster, DmaController::kMasterPorts, chipset->dma_.master_ports()));
  VMM_TRY(ports.add(layout::kDmaSlave, DmaController::kSlavePorts, chipset->dma_.slave_ports()));
  VMM_TRY(ports.add(layout::kDmaPages, DmaController::kPagePorts, chipset->dma_.page_ports()));
  return chipset;
}

Result<ide::IdeController*> PcChipset::ide(const GuestMemory& memory) {
  if (ide_ != nullptr) {
    return ide_.get();
  }
  std::array<InterruptLine*, ide::kChannelCount> lines{};
  for (size_t i = 0; i < lines.size(); ++i) {
    lines[i] = &interrupts_.make_input(ide::kChannelIrqs[i]);
  }
  ide_ = std::make_unique<ide::IdeController>(lines, memory);
  VMM_TRY(bus_.attach(kIdeAddress, *ide_));
  for (size_t i = 0; i < ide::kChannelCount; ++i) {
    ide::IdeChannel& channel = ide_->channel(i);
    VMM_TRY(ports_.add(ide::kCommandBlocks[i], ide::IdeChannel::kCommandPorts, channel.command_block()));
    VMM_TRY(ports_.add(ide::kControlBlocks[i], ide::IdeChannel::kControlPorts, channel.control_block()));
  }
  return ide_.get();
}

void PcChipset::reset() {
  dma_.reset();
  bus_.reset();
}

Status PcChipset::assign_resources() {
  VMM_TRY(pci::assign_resources(bus_));
  if (ide_ != nullptr) {
    ide_->enable_channels();
  }
  return {};
}

void PcChipset::move_power_block(std::optional<uint16_t> base) {
  if (power_block_base_) {
    ports_.remove(*power_block_base_);
  }
  power_block_base_ = base;
  if (base) {
    if (const Status status = ports_.add(*base, AcpiPower::kPmBlockPorts, power_block_); !status) {
      log::warning("the guest moved its power management ports where others are: {}",
                   status.error().message());
      power_block_base_.reset();
    }
  }
}

}  // namespace vmm
