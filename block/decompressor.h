// Decompressor: one cluster of compressed data at a time. Bounded by the size of the cluster, whatever the
// data say.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace vmm::block {

class Decompressor {
 public:
  virtual ~Decompressor() = default;
  // False: `stored` (which may be longer than the data) does not give `plain.size()` bytes.
  virtual bool run(std::span<const std::byte> stored, std::span<std::byte> plain) = 0;
};

// Raw deflate without a zlib header (qcow2, qcow); window_bits of the writer is at most 15.
std::unique_ptr<Decompressor> make_deflate_decompressor();
std::unique_ptr<Decompressor> make_zstd_decompressor();

}  // namespace vmm::block
