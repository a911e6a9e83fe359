// What the firmware is told, as files of its configuration device (devices/fw_cfg.h).
//
// Interface: the names and layouts that SeaBIOS reads (its docs/Runtime_config.md and
// src/fw/romfile_loader.h; QEMU's docs/specs/fw_cfg.rst); integers are little-endian. Threads: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "boot/acpi_tables.h"
#include "boot/smbios.h"
#include "vmm/core/guest_address.h"

namespace vmm::boot {

struct FirmwareFile {
  std::string name;
  std::vector<std::byte> content;
};

// "etc/e820": where RAM lies.
FirmwareFile memory_file(std::span<const GuestRange> ram);

// "etc/acpi/tables", "etc/acpi/rsdp", and "etc/table-loader", by which the firmware places them, adds their
// addresses to the pointers and makes the checksums.
std::vector<FirmwareFile> acpi_files(const AcpiConfig& config);

// "etc/smbios/smbios-anchor" and "…-tables", which the firmware puts where systems look for them.
std::vector<FirmwareFile> smbios_files(const SmbiosConfig& config);

// "bootorder": what is tried, first to last, and nothing else.
FirmwareFile boot_order_file(std::span<const std::string> device_paths);

// A file that holds one number.
FirmwareFile number_file(std::string name, uint64_t value, size_t bytes);

// Open Firmware's names, as SeaBIOS compares them.
std::string virtio_disk_path(uint8_t pci_slot);
std::string ide_drive_path(uint8_t pci_slot, uint8_t pci_function, unsigned channel, unsigned unit);
std::string network_card_path(uint8_t pci_slot);

// "genroms/NAME": an option ROM that firmware runs, of no device; and its name in the boot order.
std::string option_rom_file(std::string_view name);
std::string option_rom_path(std::string_view name);

}  // namespace vmm::boot
