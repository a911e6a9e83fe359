// Register accesses as a vCPU makes them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "vmm/base/bytes.h"
#include "vmm/core/io_bus.h"

namespace vmm {

template <typename T = uint8_t>
T in(BusDevice& device, uint64_t offset) {
  std::array<std::byte, sizeof(T)> bytes{};
  device.read(offset, bytes);
  return load_le<T>(bytes.data());
}

template <typename T>
void out(BusDevice& device, uint64_t offset, T value) {
  std::array<std::byte, sizeof(T)> bytes{};
  store_le<T>(bytes.data(), value);
  device.write(offset, bytes);
}

inline void out8(BusDevice& device, uint64_t offset, uint8_t value) { out<uint8_t>(device, offset, value); }

}  // namespace vmm
