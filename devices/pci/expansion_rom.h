// ExpansionRom: what a function's expansion ROM register decodes (PCI Local Bus 3.0, section 6.2.5.2): code
// for the firmware, which copies it into RAM before it runs it.
//
// Threads: constant after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmm/core/io_bus.h"

namespace vmm::pci {

class ExpansionRom final : public BusDevice {
 public:
  // The register has as many address bits as there are above 2 KiB.
  static constexpr uint64_t kMinBytes = uint64_t{2} << 10U;
  static constexpr uint64_t kMaxBytes = uint64_t{16} << 20U;

  // REQUIRES: not empty, at most kMaxBytes.
  explicit ExpansionRom(std::vector<std::byte> content);

  // Of what is decoded: a power of two. Behind the content all bits are ones.
  uint64_t length_bytes() const { return length_bytes_; }

  void read(uint64_t offset, std::span<std::byte> data) override;
  void write(uint64_t /*offset*/, std::span<const std::byte> /*data*/) override {}

 private:
  const std::vector<std::byte> content_;
  const uint64_t length_bytes_;
};

}  // namespace vmm::pci
