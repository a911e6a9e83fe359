// MemoryFile: an image file in memory, for what reads and writes one step after the other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "block/sync_file.h"

namespace vmm::block {

class MemoryFile final : public SyncFile {
 public:
  explicit MemoryFile(std::vector<std::byte> contents = {}) : bytes(std::move(contents)) {}

  const std::string& path() const override { return path_; }
  Result<uint64_t> size() override { return bytes.size(); }
  Status read(FileOffset offset, std::span<std::byte> to) override {
    ++reads;
    bytes_read += to.size();
    const uint64_t begin = std::min<uint64_t>(offset.bytes(), bytes.size());
    const uint64_t length = std::min<uint64_t>(bytes.size() - begin, to.size());
    std::ranges::copy(std::span(bytes).subspan(begin, length), to.begin());
    std::ranges::fill(to.subspan(length), std::byte{0});
    return {};
  }
  Status write(FileOffset offset, std::span<const std::byte> from) override {
    bytes.resize(std::max<size_t>(bytes.size(), offset.bytes() + from.size()));
    std::ranges::copy(from, bytes.begin() + static_cast<ptrdiff_t>(offset.bytes()));
    return {};
  }
  Status sync() override { return {}; }
  Status resize(uint64_t size_bytes) override {
    bytes.resize(size_bytes);
    return {};
  }
  void discard(FileOffset /*offset*/, uint64_t /*length*/) override {}

  std::vector<std::byte> bytes;
  uint64_t reads = 0;
  uint64_t bytes_read = 0;

 private:
  std::string path_ = "image";
};

}  // namespace vmm::block
