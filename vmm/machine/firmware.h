// Firmware: what a machine='pc' starts with where there is no <kernel>: SeaBIOS in ROM, and the device that
// tells it of the machine and of what to boot.
//
// Threads: built, changed and destroyed by the main thread while no vCPU runs.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "boot/acpi_tables.h"
#include "boot/firmware.h"
#include "devices/fw_cfg.h"
#include "vmm/base/error.h"
#include "vmm/base/mapping.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/io_bus.h"
#include "vmm/domain/domain.h"
#include "vmm/kvm/vm.h"

namespace vmm {

class Firmware {
 public:
  // REQUIRES: everything passed outlives the Firmware; the Firmware outlives the last run of a vCPU.
  static Result<std::unique_ptr<Firmware>> create(const domain::Domain& domain, const GuestMemory& memory,
                                                  IoBus& ports, Vm& vm);

  void set_acpi(const boot::AcpiConfig& config);
  // Firmware's names of the devices to boot from, first to last.
  void set_boot_order(const std::vector<std::string>& device_paths);
  // An option ROM that is of no device's (boot::option_rom_path()).
  void add_option_rom(std::string_view name, std::vector<std::byte> content);

  // As at power-on: before the first vCPU runs, and after RAM has been cleared.
  Status reset();

 private:
  Firmware(const GuestMemory& memory, boot::FirmwareImage image, Mapping rom);
  void describe(const domain::Domain& domain);

  const GuestMemory& memory_;
  const boot::FirmwareImage image_;
  const Mapping rom_;
  FwCfg fw_cfg_;
};

}  // namespace vmm
