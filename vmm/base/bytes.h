// Little- and big-endian integers in byte buffers: how everything from outside is read, field by field.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace vmm {

// The host is little-endian: x86-64 is the only one there is.
static_assert(std::endian::native == std::endian::little);

// REQUIRES: sizeof(T) bytes at `bytes`.
template <std::unsigned_integral T>
constexpr T load_le(const std::byte* bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | (static_cast<T>(std::to_integer<uint8_t>(bytes[i])) << (8 * i)));
  }
  return value;
}

template <std::unsigned_integral T>
constexpr T load_be(const std::byte* bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value |
                           (static_cast<T>(std::to_integer<uint8_t>(bytes[i])) << (8 * (sizeof(T) - 1 - i))));
  }
  return value;
}

template <std::unsigned_integral T>
constexpr void store_le(std::byte* bytes, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    bytes[i] = static_cast<std::byte>((value >> (8 * i)) & 0xff);
  }
}

template <std::unsigned_integral T>
constexpr void store_be(std::byte* bytes, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    bytes[i] = static_cast<std::byte>((value >> (8 * (sizeof(T) - 1 - i))) & 0xff);
  }
}

// The T at `offset` of a buffer, or nothing where it does not fit.
template <std::unsigned_integral T>
constexpr std::optional<T> read_le_at(std::span<const std::byte> bytes, size_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) {
    return std::nullopt;
  }
  return load_le<T>(bytes.data() + offset);
}

template <std::unsigned_integral T>
constexpr std::optional<T> read_be_at(std::span<const std::byte> bytes, size_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) {
    return std::nullopt;
  }
  return load_be<T>(bytes.data() + offset);
}

// A register access of 1, 2, 4 or 8 bytes, as the bus hands it over: shorter buffers read as zero-extended.
constexpr uint64_t load_le_sized(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size() && i < 8; ++i) {
    value |= static_cast<uint64_t>(std::to_integer<uint8_t>(bytes[i])) << (8 * i);
  }
  return value;
}

constexpr void store_le_sized(std::span<std::byte> bytes, uint64_t value) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = i < 8 ? static_cast<std::byte>((value >> (8 * i)) & 0xff) : std::byte{0};
  }
}

constexpr bool is_power_of_two(uint64_t value) { return std::has_single_bit(value); }

inline constexpr uint32_t kPageBytes = 4096;  // of x86
inline constexpr uint64_t kMiB = 1ULL << 20;
inline constexpr uint64_t kGiB = 1ULL << 30;

// REQUIRES: by > 0.
constexpr uint64_t divide_up(uint64_t value, uint64_t by) { return value / by + (value % by != 0 ? 1 : 0); }

// REQUIRES: alignment is a power of two; value + alignment does not overflow.
constexpr uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}
constexpr uint64_t align_down(uint64_t value, uint64_t alignment) { return value & ~(alignment - 1); }

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace vmm
