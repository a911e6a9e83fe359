// Compressor: one cluster at a time, as qcow2 images store it.
//
// Standard: QEMU's docs/interop/qcow2, "Compressed Clusters Descriptor" and "compression_type". Threads: one
// at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace vmm::block {

enum class Compression : uint8_t { kDeflate, kZstd };

class Compressor {
 public:
  virtual ~Compressor() = default;
  // Bytes of `stored` that hold `plain`; 0: it does not fit there. Contents of `stored` are then undefined.
  virtual size_t run(std::span<const std::byte> plain, std::span<std::byte> stored) = 0;
};

// nullptr: the host is out of memory.
std::unique_ptr<Compressor> make_compressor(Compression compression);

}  // namespace vmm::block
