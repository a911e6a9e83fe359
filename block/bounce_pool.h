// BouncePool: a bounded number of aligned buffers for transfers that the kernel would not take as they are.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace vmm::block {

class BouncePool {
 public:
  static constexpr size_t kBufferBytes = size_t{64} << 10;
  static constexpr size_t kMaxBuffers = 16;

  // kBufferBytes of memory, aligned to their size; nullptr when all are in use or the host has no memory.
  std::byte* take();
  // REQUIRES: from take() of this pool.
  void give_back(std::byte* buffer) { free_.push_back(buffer); }
  size_t in_use() const { return buffers_.size() - free_.size(); }

 private:
  struct Free {
    void operator()(std::byte* bytes) const;
  };
  std::vector<std::unique_ptr<std::byte, Free>> buffers_;
  std::vector<std::byte*> free_;
};

}  // namespace vmm::block
