#include "devices/ide/identify.h"

namespace vmm::ide {

void IdentifyData::set_transfer_modes(uint8_t multiword_dma, uint8_t ultra_dma) {
  set(63, uint32_t{multiword_dma} << 8 | 0x07);  // multiword DMA 0 to 2
  set(64, 0x0003);                               // PIO 3 and 4
  for (size_t word = 65; word <= 68; ++word) {
    set(word, 120);  // nanoseconds a cycle
  }
  set(88, uint32_t{ultra_dma} << 8 | 0x3f);  // ultra DMA 0 to 5
}

void IdentifyData::set_reset_result(bool is_device_1) { set(93, is_device_1 ? 0x6b00 : 0x600b); }

void IdentifyData::set_text(size_t word, size_t words, std::string_view text) {
  for (size_t i = 0; i < 2 * words; ++i) {
    const char character = i < text.size() ? text[i] : ' ';
    bytes_[2 * word + (i ^ 1U)] = static_cast<std::byte>(character);
  }
}

void IdentifyData::set_world_wide_name(uint64_t name) {
  constexpr uint32_t kHasName = 1U << 8;
  for (const size_t word : {84U, 87U}) {
    set(word, load_le<uint16_t>(&bytes_[2 * word]) | kHasName);
  }
  for (size_t i = 0; i < 4; ++i) {  // the first word has the most significant digits
    set(108 + i, static_cast<uint32_t>(name >> (48 - 16 * i) & 0xffff));
  }
}

void IdentifyData::seal() {
  constexpr uint8_t kSignature = 0xa5;
  bytes_[510] = std::byte{kSignature};
  uint32_t sum = 0;
  for (size_t i = 0; i < kBytes - 1; ++i) {
    sum += std::to_integer<uint32_t>(bytes_[i]);
  }
  bytes_[511] = static_cast<std::byte>(-sum & 0xff);
}

}  // namespace vmm::ide
