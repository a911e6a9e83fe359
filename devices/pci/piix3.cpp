#include "devices/pci/piix3.h"

#include "vmm/core/layout.h"

namespace vmm::pci {
namespace {

constexpr size_t kXbcs = 0x4e;
constexpr size_t kPirqRouteControl = 0x60;  // PIRQRC A to D
constexpr size_t kTopOfMemory = 0x69;
constexpr uint8_t kRouteOff = 0x80;
constexpr uint8_t kRouteIrq = 0x0f;

}  // namespace

Piix3::Piix3(const std::array<InterruptLine*, kIsaIrqCount>& irqs)
    : PciFunction({.vendor_id = 0x8086,
                   .device_id = 0x7000,
                   .revision = 0,
                   .class_code = 0x06'01'00,
                   .is_multi_function = true}),
      irqs_(irqs) {
  const MutexLock lock(config_mutex_);
  config_.define<uint16_t>(kXbcs, 0x0003, 0x03ff);
  config_.define<uint8_t>(kTopOfMemory, 0x02, 0xff);
  for (size_t i = 0; i < kPirqCount; ++i) {
    config_.define<uint8_t>(kPirqRouteControl + i, static_cast<uint8_t>(layout::kPciIrqs[i]),
                            kRouteOff | kRouteIrq);
  }
}

InterruptLine& Piix3::intx(uint8_t slot, InterruptPin pin) {
  return wires_.emplace_back(*this, pirq_of(slot, pin));
}

void Piix3::write_config(uint8_t offset, std::span<const std::byte> data) {
  PciFunction::write_config(offset, data);
  settler_.settle([this] { apply(); });
}

void Piix3::reset() {
  PciFunction::reset();
  settler_.settle([this] { apply(); });
}

void Piix3::Wire::set(bool level) {
  if (level_.exchange(level) == level) {
    return;
  }
  bridge_.asserted_[pirq_].fetch_add(level ? 1U : ~0U);
  bridge_.settler_.settle([this] { bridge_.apply(); });
}

std::array<bool, kIsaIrqCount> Piix3::wanted_levels() const {
  std::array<bool, kIsaIrqCount> levels{};
  const MutexLock lock(config_mutex_);
  for (size_t i = 0; i < kPirqCount; ++i) {
    const auto route = config_.get<uint8_t>(kPirqRouteControl + i);
    if ((route & kRouteOff) == 0 && asserted_[i].load() != 0) {
      levels[route & kRouteIrq] = true;
    }
  }
  return levels;
}

void Piix3::apply() {
  const std::array<bool, kIsaIrqCount> wanted = wanted_levels();
  for (size_t irq = 0; irq < kIsaIrqCount; ++irq) {
    if (wanted[irq] != applied_[irq] && irqs_[irq] != nullptr) {
      irqs_[irq]->set(wanted[irq]);
    }
    applied_[irq] = wanted[irq];
  }
}

}  // namespace vmm::pci
