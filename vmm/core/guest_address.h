// GuestAddress: a guest-physical address. An address is not an integer: it is checked with its length, or not
// used.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>

namespace vmm {

class GuestAddress {
 public:
  constexpr GuestAddress() = default;
  explicit constexpr GuestAddress(uint64_t value) : value_(value) {}

  constexpr uint64_t value() const { return value_; }

  // Nothing where the sum does not fit in 64 bits.
  constexpr std::optional<GuestAddress> plus(uint64_t bytes) const {
    if (bytes > UINT64_MAX - value_) {
      return std::nullopt;
    }
    return GuestAddress(value_ + bytes);
  }

  friend constexpr auto operator<=>(GuestAddress, GuestAddress) = default;

 private:
  uint64_t value_ = 0;
};

// [start, start + length_bytes). What a guest programmed: nothing says that it is memory.
struct GuestRange {
  GuestAddress start;
  uint64_t length_bytes = 0;
};

}  // namespace vmm
