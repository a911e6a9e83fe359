// Builds the big-endian data of a SCSI reply, field after field.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/base/bytes.h"

namespace vmm::ide {

class BeWriter {
 public:
  BeWriter& u8(uint8_t value) { return put(value); }
  BeWriter& u16(uint16_t value) { return put(value); }
  BeWriter& u32(uint32_t value) { return put(value); }
  BeWriter& u24(uint32_t value) {
    return u8(static_cast<uint8_t>((value >> 16) & 0xff)).u16(static_cast<uint16_t>(value & 0xffff));
  }
  BeWriter& bytes(std::initializer_list<uint8_t> values) {
    for (const uint8_t value : values) {
      u8(value);
    }
    return *this;
  }
  BeWriter& zeroes(size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  // ASCII, left-aligned and filled with spaces.
  BeWriter& text(std::string_view value, size_t length) {
    for (size_t i = 0; i < length; ++i) {
      u8(static_cast<uint8_t>(i < value.size() ? value[i] : ' '));
    }
    return *this;
  }

  size_t size() const { return bytes_.size(); }
  // A length that is known only now, over the zeroes that were left for it.
  BeWriter& patch_u16(size_t offset, size_t value) {
    store_be<uint16_t>(&bytes_[offset], static_cast<uint16_t>(value & 0xffff));
    return *this;
  }
  BeWriter& patch_u32(size_t offset, size_t value) {
    store_be<uint32_t>(&bytes_[offset], static_cast<uint32_t>(value & 0xffff'ffff));
    return *this;
  }
  std::vector<std::byte> take() { return std::exchange(bytes_, {}); }

 private:
  template <typename T>
  BeWriter& put(T value) {
    const size_t place = bytes_.size();
    bytes_.resize(place + sizeof(T));
    store_be<T>(&bytes_[place], value);
    return *this;
  }

  std::vector<std::byte> bytes_;
};

}  // namespace vmm::ide
