// WorkMap: which chunks of a disk are still to be done: a bit for each.
//
// Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "block/file_request.h"

namespace vmm::block {

class WorkMap {
 public:
  // All is to be done. A chunk has chunk_bytes(), a power of two: kMinChunkBytes, or as many more as it takes
  // to have no more than kMaxChunks.
  static constexpr uint64_t kMinChunkBytes = uint64_t{1} << 20U;
  static constexpr uint64_t kMaxChunks = uint64_t{1} << 24U;
  explicit WorkMap(uint64_t size_bytes);

  uint64_t chunk_bytes() const { return chunk_bytes_; }
  uint64_t chunks() const { return chunks_; }
  uint64_t left() const { return left_; }
  // The bytes of a chunk; the last one ends with the disk.
  ByteRange range_of(uint64_t chunk) const;
  // The chunks that a range of bytes touches. REQUIRES: it is not empty.
  uint64_t first_of(const ByteRange& range) const { return range.begin / chunk_bytes_; }
  uint64_t last_of(const ByteRange& range) const;

  bool is_to_do(uint64_t chunk) const { return (words_[chunk / 64] >> (chunk % 64) & 1U) != 0; }
  void set(uint64_t chunk, bool is_to_do);
  // The first that is to be done from `chunk` to `last`, both included.
  std::optional<uint64_t> find(uint64_t chunk, uint64_t last) const;

 private:
  uint64_t size_bytes_;
  uint64_t chunk_bytes_ = kMinChunkBytes;
  uint64_t chunks_ = 0;
  uint64_t left_ = 0;
  std::vector<uint64_t> words_;
};

}  // namespace vmm::block
