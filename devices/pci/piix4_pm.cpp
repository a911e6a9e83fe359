#include "devices/pci/piix4_pm.h"

#include <utility>

#include "vmm/core/layout.h"

namespace vmm::pci {
namespace {

constexpr size_t kPmBase = 0x40;
constexpr size_t kDeviceActivityB = 0x58;
constexpr uint8_t kApmcEnable = 0x02;  // bit 25
constexpr size_t kPmRegMisc = 0x80;
constexpr size_t kSmbusBase = 0x90;
constexpr size_t kSmbusHostConfig = 0xd2;
constexpr uint32_t kPmBaseAddress = 0xffc0;  // bits 15:6; bit 0 says "I/O" and reads as 1
constexpr uint8_t kPmIoSpaceEnable = 1;

}  // namespace

Piix4Pm::Piix4Pm(BaseHandler on_base_change)
    : PciFunction({.vendor_id = 0x8086, .device_id = 0x7113, .revision = 3, .class_code = 0x06'80'00}),
      on_base_change_(std::move(on_base_change)) {
  {
    const MutexLock lock(config_mutex_);
    config_.define<uint32_t>(kPmBase, layout::kPmBase | 1U, kPmBaseAddress);
    config_.define<uint8_t>(kPmRegMisc, kPmIoSpaceEnable, kPmIoSpaceEnable);
    // There is no SMBus behind these; firmware sets them all the same.
    config_.define<uint32_t>(kSmbusBase, 1, 0xfff0);
    config_.define<uint8_t>(kSmbusHostConfig, 0, 0x0f);
    // APMC_EN is set for good: firmware takes it that its SMI handler is there, and installs none.
    config_.define<uint8_t>(kDeviceActivityB + 3, kApmcEnable, 0);
    // The SCI is wired to its IRQ, not to a PIRQ: no pin, but the line says where.
    config_.define<uint8_t>(kInterruptLine, static_cast<uint8_t>(layout::kSciIrq), 0xff);
  }
  applied_ = base();
}

std::optional<uint16_t> Piix4Pm::base() const {
  const MutexLock lock(config_mutex_);
  const auto address = static_cast<uint16_t>(config_.get<uint32_t>(kPmBase) & kPmBaseAddress);
  if (address == 0 || (config_.get<uint8_t>(kPmRegMisc) & kPmIoSpaceEnable) == 0) {
    return std::nullopt;
  }
  return address;
}

void Piix4Pm::write_config(uint8_t offset, std::span<const std::byte> data) {
  PciFunction::write_config(offset, data);
  settler_.settle([this] { apply(); });
}

void Piix4Pm::reset() {
  PciFunction::reset();
  settler_.settle([this] { apply(); });
}

void Piix4Pm::apply() {
  const std::optional<uint16_t> wanted = base();
  if (wanted != applied_) {
    applied_ = wanted;
    on_base_change_(wanted);
  }
}

}  // namespace vmm::pci
