// MemoryImage: an image file in memory that is not longer than a limit: an engine, and a SyncFile on it.
// Operations are answered in their order, when answer_all() says so.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "block/engine/engine.h"
#include "block/io_vector.h"
#include "block/sync_file.h"

namespace vmm::fuzz {

class MemoryImage final : public block::Engine, public block::SyncFile {
 public:
  static constexpr uint64_t kMaxBytes = uint64_t{16} << 20U;

  explicit MemoryImage(std::span<const std::byte> bytes) : bytes_(bytes.begin(), bytes.end()) {}

  const std::vector<std::byte>& bytes() const { return bytes_; }

  void answer_all() {
    while (!waiting_.empty()) {
      const auto [operation, is_finished] = waiting_.front();
      const auto status = is_finished ? std::optional(operation->status)
                                      : block::accept_result(*operation, answer(*operation));
      if (status) {
        waiting_.pop_front();
        operation->done(*operation, *status);
      }
    }
  }

  // --- Engine ---

  block::EngineKind kind() const override { return block::EngineKind::kThreads; }
  uint32_t in_flight() const override { return static_cast<uint32_t>(waiting_.size()); }
  void submit(block::FileOperation& operation) override {
    block::start_operation(operation);
    waiting_.emplace_back(&operation, false);
  }
  void finish_later(block::FileOperation& operation, block::IoStatus status) override {
    operation.status = status;
    waiting_.emplace_back(&operation, true);
  }

  // --- SyncFile ---

  const std::string& path() const override { return path_; }
  Result<uint64_t> size() override { return bytes_.size(); }
  Status read(block::FileOffset offset, std::span<std::byte> to) override {
    const auto from = std::span(bytes_).subspan(std::min<uint64_t>(offset.bytes(), bytes_.size()));
    const size_t there = std::min(from.size(), to.size());
    std::ranges::copy(from.first(there), to.begin());
    std::ranges::fill(to.subspan(there), std::byte{0});
    return {};
  }
  Status write(block::FileOffset offset, std::span<const std::byte> from) override {
    return put(offset.bytes(), from.size(), from) ? Status() : fail("{}: is full", path_);
  }
  Status sync() override { return {}; }
  Status resize(uint64_t bytes) override {
    if (bytes > kMaxBytes) {
      return fail("{}: is full", path_);
    }
    bytes_.resize(bytes);
    return {};
  }
  void discard(block::FileOffset offset, uint64_t bytes) override { clear(offset.bytes(), bytes); }

 private:
  bool put(uint64_t offset, uint64_t length, std::span<const std::byte> from) {
    if (offset > kMaxBytes || length > kMaxBytes - offset) {
      return false;
    }
    bytes_.resize(std::max<uint64_t>(bytes_.size(), offset + length));
    std::ranges::copy(from, bytes_.begin() + static_cast<ptrdiff_t>(offset));
    return true;
  }
  void clear(uint64_t offset, uint64_t bytes) {
    const uint64_t begin = std::min<uint64_t>(offset, bytes_.size());
    std::ranges::fill(std::span(bytes_).subspan(begin, std::min<uint64_t>(bytes, bytes_.size() - begin)),
                      std::byte{0});
  }

  int64_t answer(block::FileOperation& operation) {
    switch (operation.op) {
      case block::FileOp::kRead:
      case block::FileOp::kWrite:
        return move(operation);
      case block::FileOp::kPunchHole:
      case block::FileOp::kZeroRange:
        clear(operation.offset.bytes(), operation.length_bytes);
        return 0;
      case block::FileOp::kSync:
        return 0;
      case block::FileOp::kDiscardBlocks:
        return -EOPNOTSUPP;
    }
    return -EINVAL;
  }

  int64_t move(block::FileOperation& operation) {
    const block::FilePart part = block::next_part(operation);
    uint64_t length = 0;
    for (const iovec& buffer : part.buffers) {
      length += buffer.iov_len;
    }
    const uint64_t offset = part.offset.bytes();
    if (operation.op == block::FileOp::kRead) {
      const uint64_t begin = std::min<uint64_t>(offset, bytes_.size());
      length = std::min<uint64_t>(length, bytes_.size() - begin);
      block::copy_to_buffers(part.buffers, 0, std::span(bytes_).subspan(begin, length));
      return static_cast<int64_t>(length);
    }
    if (!put(offset, length, {})) {
      return -ENOSPC;
    }
    block::copy_from_buffers(part.buffers, 0, std::span(bytes_).subspan(offset, length));
    return static_cast<int64_t>(length);
  }

  std::string path_ = "image";
  std::vector<std::byte> bytes_;
  std::deque<std::pair<block::FileOperation*, bool>> waiting_;
};

// A SyncFile that an image may own.
class MemorySync final : public block::SyncFile {
 public:
  explicit MemorySync(MemoryImage& image) : image_(image) {}
  const std::string& path() const override { return image_.path(); }
  Result<uint64_t> size() override { return image_.size(); }
  Status read(block::FileOffset offset, std::span<std::byte> to) override { return image_.read(offset, to); }
  Status write(block::FileOffset offset, std::span<const std::byte> from) override {
    return image_.write(offset, from);
  }
  Status sync() override { return {}; }
  Status resize(uint64_t bytes) override { return image_.resize(bytes); }
  void discard(block::FileOffset offset, uint64_t bytes) override { image_.discard(offset, bytes); }

 private:
  MemoryImage& image_;
};

}  // namespace vmm::fuzz
