#include "devices/ide/ide_controller.h"

namespace vmm::ide {
namespace {

constexpr size_t kTiming = 0x40;  // IDETIM of the first channel; that of the second follows
constexpr size_t kTimingBytes = 2;
constexpr uint16_t kTimingBits = 0xf3ff;
constexpr uint16_t kDecodeEnable = 1U << 15;
constexpr size_t kSlaveTiming = 0x44;  // SIDETIM

}  // namespace

IdeController::IdeController(const std::array<InterruptLine*, kChannelCount>& lines,
                             const GuestMemory& memory)
    // Class 01h, subclass 01h: IDE; 80h: a bus master, both channels at their old ports for good.
    : PciFunction({.vendor_id = 0x8086, .device_id = 0x7010, .revision = 0, .class_code = 0x01'01'80}),
      channels_{{{*lines[0], memory}, {*lines[1], memory}}} {
  add_bar(kBusMasterBar,
          {.kind = pci::BarKind::kIo, .length_bytes = kBusMasterPorts, .device = &bus_master_ports_});
  const MutexLock lock(config_mutex_);
  for (size_t i = 0; i < kChannelCount; ++i) {
    config_.define<uint16_t>(kTiming + i * kTimingBytes, 0, kTimingBits);
  }
  config_.define<uint8_t>(kSlaveTiming, 0, 0xff);
}

void IdeController::apply_config() {
  const auto command = config_.get<uint16_t>(pci::kCommand);
  for (size_t i = 0; i < kChannelCount; ++i) {
    const auto timing = config_.get<uint16_t>(kTiming + i * kTimingBytes);
    channels_[i].set_decoding((command & pci::kCommandIoSpace) != 0 && (timing & kDecodeEnable) != 0);
    channels_[i].set_bus_mastering((command & pci::kCommandBusMaster) != 0);
  }
}

void IdeController::enable_channels() {
  enable_decoding();
  const MutexLock lock(config_mutex_);
  for (size_t i = 0; i < kChannelCount; ++i) {
    const size_t place = kTiming + i * kTimingBytes;
    config_.put<uint16_t>(place, config_.get<uint16_t>(place) | kDecodeEnable);
  }
  apply_config();
}

void IdeController::write_config(uint8_t offset, std::span<const std::byte> data) {
  PciFunction::write_config(offset, data);
  const MutexLock lock(config_mutex_);
  apply_config();
}

void IdeController::reset() {
  PciFunction::reset();
  {
    const MutexLock lock(config_mutex_);
    apply_config();
  }
  for (IdeChannel& channel : channels_) {
    channel.reset();
  }
}

void IdeController::read_bus_master(uint64_t offset, std::span<std::byte> data) {
  for (std::byte& byte : data) {
    const size_t place = static_cast<size_t>(offset++);
    byte = std::byte{channels_[place / BusMaster::kPorts].read_bus_master(place % BusMaster::kPorts)};
  }
}

void IdeController::write_bus_master(uint64_t offset, std::span<const std::byte> data) {
  for (const std::byte byte : data) {
    const size_t place = static_cast<size_t>(offset++);
    channels_[place / BusMaster::kPorts].write_bus_master(place % BusMaster::kPorts,
                                                          std::to_integer<uint8_t>(byte));
  }
}

}  // namespace vmm::ide
