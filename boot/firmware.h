// The firmware of machine='pc', SeaBIOS as Debian ships it: found, checked, and laid out as a PC's ROM, which
// lies wholly below 4 GiB and with its last 128 KiB below 1 MiB too.
//
// Threads: before the vCPUs run, one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/core/guest_address.h"
#include "vmm/core/guest_memory.h"

namespace vmm::boot {

// A firmware file is a multiple of kFirmwareUnit, up to kMaxFirmwareBytes.
inline constexpr uint64_t kFirmwareUnit = uint64_t{64} << 10U;
inline constexpr uint64_t kMaxFirmwareBytes = uint64_t{16} << 20U;

struct FirmwareImage {
  std::string path;
  std::vector<std::byte> bytes;

  // Where the ROM begins; it ends at 4 GiB.
  GuestAddress rom_address() const;
};

// The file at `path`; empty: SeaBIOS where distributions put it. Errors: it is not there (the sentence names
// Debian's package), cannot be read, or has no size that firmware has.
Result<FirmwareImage> read_firmware(const std::string& path);

// The part below 1 MiB, which the guest may write to: chipsets show RAM there once the firmware has asked for
// it, and here it is RAM from the start. At every power-on and reset. An error where there is no RAM.
Status shadow_firmware(const GuestMemory& memory, std::span<const std::byte> firmware);

}  // namespace vmm::boot
