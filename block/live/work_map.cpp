#include "block/live/work_map.h"

#include <algorithm>
#include <bit>

namespace vmm::block {
namespace {

constexpr uint64_t kWordBits = 64;

}  // namespace

WorkMap::WorkMap(uint64_t size_bytes) : size_bytes_(size_bytes) {
  while (size_bytes / chunk_bytes_ >= kMaxChunks) {
    chunk_bytes_ *= 2;
  }
  chunks_ = size_bytes / chunk_bytes_ + (size_bytes % chunk_bytes_ != 0 ? 1 : 0);
  left_ = chunks_;
  words_.assign(chunks_ / kWordBits + 1, ~uint64_t{0});
}

ByteRange WorkMap::range_of(uint64_t chunk) const {
  const uint64_t begin = chunk * chunk_bytes_;
  return {.begin = begin, .end = begin + std::min(chunk_bytes_, size_bytes_ - begin)};
}

uint64_t WorkMap::last_of(const ByteRange& range) const {
  return std::min((range.end - 1) / chunk_bytes_, chunks_ - 1);
}

void WorkMap::set(uint64_t chunk, bool is_to_do) {
  if (this->is_to_do(chunk) == is_to_do) {
    return;
  }
  words_[chunk / kWordBits] ^= uint64_t{1} << (chunk % kWordBits);
  left_ += is_to_do ? uint64_t{1} : ~uint64_t{0};
}

std::optional<uint64_t> WorkMap::find(uint64_t chunk, uint64_t last) const {
  while (chunk <= last && chunk < chunks_) {
    const uint64_t word = words_[chunk / kWordBits] >> (chunk % kWordBits);
    if (word == 0) {
      chunk = (chunk / kWordBits + 1) * kWordBits;
      continue;
    }
    chunk += static_cast<uint64_t>(std::countr_zero(word));
    return chunk <= last && chunk < chunks_ ? std::optional(chunk) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace vmm::block
