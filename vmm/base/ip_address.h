// IpAddress: an IPv4 or IPv6 address. Threads: values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vmm {

class IpAddress {
 public:
  enum class Family : uint8_t { kV4, kV6 };

  // 0.0.0.0.
  constexpr IpAddress() = default;
  // v4(10, 0, 2, 15).
  static constexpr IpAddress v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    return {Family::kV4, {std::byte{a}, std::byte{b}, std::byte{c}, std::byte{d}}};
  }
  static constexpr IpAddress v6(const std::array<std::byte, 16>& bytes) { return {Family::kV6, bytes}; }
  // "10.0.2.15" or "fec0::2", without a scope; nothing: it is neither.
  static std::optional<IpAddress> parse(std::string_view text);

  constexpr Family family() const { return family_; }
  constexpr bool is_v4() const { return family_ == Family::kV4; }
  // In the order of the network; of IPv4 the first four.
  constexpr const std::array<std::byte, 16>& bytes() const { return bytes_; }
  constexpr size_t bit_count() const { return is_v4() ? 32 : 128; }
  // All zeroes: any address, where one listens.
  constexpr bool is_any() const { return bytes_ == std::array<std::byte, 16>{}; }
  // Whether the first `prefix_bits` are the other's.
  bool is_in(const IpAddress& network, size_t prefix_bits) const;
  std::string text() const;

  bool operator==(const IpAddress&) const = default;

 private:
  constexpr IpAddress(Family family, const std::array<std::byte, 16>& bytes)
      : family_(family), bytes_(bytes) {}

  Family family_ = Family::kV4;
  std::array<std::byte, 16> bytes_{};
};

}  // namespace vmm
