// The power management function of the PIIX4, 00:01.3 (Intel 290562, chapter 7): says where the ACPI register
// block answers. The block itself is another device.
//
// Threads: configuration from vCPU threads; the handler is called on the thread that changed it, with no lock
// held, never two at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "devices/pci/pci_function.h"
#include "devices/pci/settler.h"

namespace vmm::pci {

class Piix4Pm final : public PciFunction {
 public:
  // The first port of the block (64 ports), or nothing while it is switched off.
  using BaseHandler = std::function<void(std::optional<uint16_t> base)>;

  // Preset to layout::kPmBase, switched on: whoever builds the machine adds the block at base() first; the
  // handler only hears of changes.
  explicit Piix4Pm(BaseHandler on_base_change);

  std::optional<uint16_t> base() const VMM_EXCLUDES(config_mutex_);

  void write_config(uint8_t offset, std::span<const std::byte> data) override;
  void reset() override;

 private:
  void apply() VMM_EXCLUDES(config_mutex_);

  BaseHandler on_base_change_;
  Settler settler_;
  std::optional<uint16_t> applied_;  // the settling thread only
};

}  // namespace vmm::pci
