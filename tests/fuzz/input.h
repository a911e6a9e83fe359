// What a fuzzer feeds a target, taken piece by piece from the front. Where it has ended, zeroes follow.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"
#include "vmm/base/log.h"

// The entry point that libFuzzer and replay_main.cpp call. A target aborts where an invariant is broken.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace vmm::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(std::as_bytes(std::span(data, size))) {}

  bool is_empty() const { return rest_.empty(); }

  template <std::unsigned_integral T>
  T take() {
    std::array<std::byte, sizeof(T)> bytes{};
    std::ranges::copy(take_bytes(bytes.size()), bytes.begin());
    return load_le<T>(bytes.data());
  }
  // One byte of input. REQUIRES: 0 < limit <= 256.
  uint8_t below(unsigned limit) { return static_cast<uint8_t>(take<uint8_t>() % limit); }
  // One byte of input.
  bool chance() { return (take<uint8_t>() & 1) != 0; }

  // Fewer where the input ends.
  std::span<const std::byte> take_bytes(size_t most) {
    const auto taken = rest_.first(std::min(most, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::span<const std::byte> rest() const { return rest_; }

 private:
  std::span<const std::byte> rest_;
};

// Guests make vmm warn: not here, thousands of times in a second.
inline void silence_log() { log::set_level(log::Level::kOff); }

}  // namespace vmm::fuzz
