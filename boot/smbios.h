// SMBIOS tables, which say what machine this is: the guest's name and UUID, its processors and memory.
//
// Standard: DMTF DSP0134 (SMBIOS) 3.6; tables and entry point of version 2.8, below 4 GiB. Threads: values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/core/guest_memory.h"

namespace vmm::boot {

struct SmbiosConfig {
  // Empty: not said. At most 64 characters each.
  struct Bios {
    std::string vendor, version, date, release;  // release: "major.minor"
  };
  struct System {
    std::string manufacturer, product, version, serial, sku, family;
  };
  struct Board {
    std::string manufacturer, product, version, serial, asset, location;
  };
  struct Chassis {
    std::string manufacturer, version, serial, asset, sku;
  };

  std::optional<Bios> bios;  // absent: the firmware describes itself
  System system;
  std::optional<Board> board;
  Chassis chassis;
  std::vector<std::string> oem_strings;
  std::optional<std::array<uint8_t, 16>> uuid;  // in the order of its text
  uint64_t low_memory_bytes = 0;                // from 0
  uint64_t high_memory_bytes = 0;               // from 4 GiB
  uint32_t sockets = 1;
  uint32_t cores_per_socket = 1;
  uint32_t threads_per_socket = 1;
};

struct SmbiosTables {
  std::vector<std::byte> anchor;  // the entry point; its table address is 0, its checksums are due
  std::vector<std::byte> tables;
};

// REQUIRES: at most 255 sockets; then all that a domain file can say fits into the 64 KiB behind
// layout::kSmbiosStart, and the entry point can tell its length.
SmbiosTables build_smbios(const SmbiosConfig& config);

// With direct boot, where no firmware does it: writes them to layout::kSmbiosStart, where systems look for
// the entry point, with its address and checksums. An error where the guest has no memory there.
Status install_smbios(const GuestMemory& memory, const SmbiosConfig& config);

}  // namespace vmm::boot
