// SectorCipher: how guest data are encrypted in an image file, sector by sector. Metadata are never
// encrypted.
//
// Threads: the image's loop; an implementation keeps no state between calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "block/block_device.h"

namespace vmm::block {

class SectorCipher {
 public:
  static constexpr uint64_t kSectorBytes = 512;

  virtual ~SectorCipher() = default;

  // What the IV of a sector is made from. qcow2, "Data encryption": LUKS takes the sector in the image file,
  // legacy AES the sector of the disk.
  virtual bool uses_file_offset() const = 0;

  // In place. offset_bytes (in the file or the disk, see above) and the size are multiples of kSectorBytes.
  virtual IoStatus encrypt(uint64_t offset_bytes, std::span<std::byte> data) const = 0;
  virtual IoStatus decrypt(uint64_t offset_bytes, std::span<std::byte> data) const = 0;
};

}  // namespace vmm::block
