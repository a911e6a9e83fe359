#include "block/bounce_pool.h"

#include <cstdlib>

namespace vmm::block {

void BouncePool::Free::operator()(std::byte* bytes) const { std::free(bytes); }

std::byte* BouncePool::take() {
  if (!free_.empty()) {
    std::byte* buffer = free_.back();
    free_.pop_back();
    return buffer;
  }
  if (buffers_.size() == kMaxBuffers) {
    return nullptr;
  }
  auto* buffer = static_cast<std::byte*>(std::aligned_alloc(kBufferBytes, kBufferBytes));
  if (buffer != nullptr) {
    buffers_.emplace_back(buffer);
  }
  return buffer;
}

}  // namespace vmm::block
