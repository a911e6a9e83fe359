// The IDE function of the PIIX3, 00:01.1 (Intel 290550, section 2.3 and 2.7): two channels at the ports that
// PCs have always had them at, and a bus master behind BAR 4.
//
// Threads: channels and drives are described in ide_channel.h; configuration from any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/ide/ide_channel.h"
#include "devices/pci/pci_function.h"
#include "devices/register_window.h"

namespace vmm::ide {

inline constexpr size_t kChannelCount = 2;

// Where PCs have the channels.
inline constexpr std::array<uint16_t, kChannelCount> kCommandBlocks = {0x1f0, 0x170};
inline constexpr std::array<uint16_t, kChannelCount> kControlBlocks = {0x3f6, 0x376};
inline constexpr std::array<uint32_t, kChannelCount> kChannelIrqs = {14, 15};

class IdeController final : public pci::PciFunction {
 public:
  static constexpr size_t kBusMasterBar = 4;
  static constexpr uint64_t kBusMasterPorts = kChannelCount * BusMaster::kPorts;

  // lines: IRQ 14 and 15. Everything passed outlives the controller.
  IdeController(const std::array<InterruptLine*, kChannelCount>& lines, const GuestMemory& memory);

  IdeChannel& channel(size_t index) { return channels_[index]; }

  // What firmware does: both channels answer at their ports, where the command register lets them. After each
  // reset, for guests that begin without firmware.
  void enable_channels() VMM_EXCLUDES(config_mutex_);

  void write_config(uint8_t offset, std::span<const std::byte> data) override;
  void reset() override;

 private:
  void read_bus_master(uint64_t offset, std::span<std::byte> data);
  void write_bus_master(uint64_t offset, std::span<const std::byte> data);
  void apply_config() VMM_REQUIRES(config_mutex_);

  std::array<IdeChannel, kChannelCount> channels_;
  RegisterWindow<IdeController, &IdeController::read_bus_master, &IdeController::write_bus_master>
      bus_master_ports_{*this};
};

}  // namespace vmm::ide
