// The 512 bytes of IDENTIFY DEVICE and IDENTIFY PACKET DEVICE, word by word (ATA/ATAPI-7 volume 1, sections
// 6.17 and 6.18).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "vmm/base/bytes.h"

namespace vmm::ide {

class IdentifyData {
 public:
  static constexpr size_t kBytes = 512;

  // What every drive says of its DMA and PIO modes. The selected modes as IdeDrive::State has them.
  void set_transfer_modes(uint8_t multiword_dma, uint8_t ultra_dma);
  // What a hardware reset found out (word 93): device 0 or 1, on a cable of 80 wires.
  void set_reset_result(bool is_device_1);

  void set(size_t word, uint32_t value) {
    store_le<uint16_t>(&bytes_[2 * word], static_cast<uint16_t>(value & 0xffff));
  }
  void set_u32(size_t word, uint32_t value) { store_le<uint32_t>(&bytes_[2 * word], value); }
  void set_u64(size_t word, uint64_t value) { store_le<uint64_t>(&bytes_[2 * word], value); }
  // ASCII, two characters in a word, the first in the high byte; filled with spaces.
  void set_text(size_t word, size_t words, std::string_view text);
  // The World Wide Name (words 108 to 111, bit 8 of words 84 and 87). After these two words are set.
  void set_world_wide_name(uint64_t name);
  // The last word: a signature, and a checksum over all. After everything else.
  void seal();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::array<std::byte, kBytes> bytes_{};
};

}  // namespace vmm::ide
