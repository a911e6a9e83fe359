// The option ROM that firmware boots from the network with, iPXE as Debian ships it: found, and checked as
// firmware reads it (PCI Local Bus 3.0, section 6.3.1).
//
// Threads: before the vCPUs run, one thread at a time. Errors name the file and the offset in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/error.h"

namespace vmm::boot {

inline constexpr uint64_t kMaxOptionRomBytes = uint64_t{1} << 20U;

struct OptionRom {
  // One of its images: code for a kind of firmware and a device.
  struct Image {
    uint8_t code_type = 0;
    uint16_t vendor_id = 0;
    uint16_t device_id = 0;
  };

  std::string path;
  std::vector<std::byte> bytes;
  std::vector<Image> images;  // at least one is for a PC's firmware

  // Whether a PC's firmware takes one of its images for this device. It looks at no list of more devices.
  bool is_for(uint16_t vendor_id, uint16_t device_id) const;
};

// The images in `content`, the file `path`: at least one is for a PC's firmware, and these have the checksum
// that it asks for.
Result<std::vector<OptionRom::Image>> parse_option_rom(const std::string& path,
                                                       std::span<const std::byte> content);

// The file at `path`; empty: iPXE for virtio cards where distributions put it. Errors: it is not there (the
// sentence names Debian's package), cannot be read, is longer than kMaxOptionRomBytes, or is no option ROM.
Result<OptionRom> read_option_rom(const std::string& path);

}  // namespace vmm::boot
