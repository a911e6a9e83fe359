// FakeBlockDevice: a disk in memory for front-end tests. Requests are taken at once and done when the test
// says so, in the order it likes; errors are injected by operation.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "block/block_device.h"

namespace vmm::block {

class FakeBlockDevice : public BlockDevice {
 public:
  // What a front end asked for, kept after the request is done.
  struct Record {
    BlockOp op = BlockOp::kRead;
    DiskOffset offset;
    uint64_t length_bytes = 0;
    size_t buffer_count = 0;
    bool may_unmap = false;
    bool force_unit_access = false;
  };

  explicit FakeBlockDevice(uint64_t size_bytes) : bytes_(static_cast<size_t>(size_bytes)) {
    limits_.discard_alignment_bytes = 512;
    limits_.can_write_zeroes = true;
  }

  // --- Set up by the test ---

  void set_read_only(bool read_only) { is_read_only_ = read_only; }
  void set_limits(const BlockLimits& limits) { limits_ = limits; }
  // While deferred, requests wait for complete…(); otherwise submit() completes them before it returns.
  void set_deferred(bool deferred) { is_deferred_ = deferred; }
  // What is deferred waits for a limit: it is dropped by who wants it no more.
  void set_limited(bool is_limited) { is_limited_ = is_limited; }
  // can_accept() turns false with this many requests in flight.
  void set_capacity(uint32_t requests) { capacity_ = requests; }
  // The next `count` requests of that operation end with `status` and change nothing.
  void fail_next(BlockOp op, IoStatus status, uint32_t count = 1) {
    failures_.push_back({.op = op, .status = status, .left = count});
  }

  // --- Done by the test ---

  // The bytes are moved when a request completes, not when it is submitted.
  // REQUIRES: index < in_flight(); 0 is the oldest.
  void complete(size_t index) {
    VMM_CHECK(index < waiting_.size(), "the fake disk has no such request");
    BlockRequest request = std::move(waiting_[index]);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(index));
    finish(std::move(request));
  }
  void complete_oldest() { complete(0); }
  void complete_newest() { complete(waiting_.size() - 1); }
  // Those in flight now; not those that their completions submit.
  void complete_all() {
    for (size_t left = waiting_.size(); left > 0; --left) {
      complete_oldest();
    }
  }

  // --- Looked at by the test ---

  std::span<std::byte> bytes() { return bytes_; }
  const std::vector<Record>& history() const { return history_; }
  uint64_t flushes() const {
    return static_cast<uint64_t>(
        std::ranges::count_if(history_, [](const Record& record) { return record.op == BlockOp::kFlush; }));
  }

  // --- BlockDevice ---

  uint64_t size_bytes() const override { return bytes_.size(); }
  bool is_read_only() const override { return is_read_only_; }
  BlockLimits limits() const override { return limits_; }
  bool can_accept() const override { return waiting_.size() < capacity_; }
  uint32_t in_flight() const override { return static_cast<uint32_t>(waiting_.size()); }

  void drop_waiting() override {
    for (size_t left = is_limited_ ? waiting_.size() : 0; left > 0; --left) {
      BlockRequest request = std::move(waiting_.front());
      waiting_.erase(waiting_.begin());
      request.completion.finish(IoStatus::kIoError);
    }
  }

  void submit(BlockRequest request) override {
    VMM_CHECK(can_accept(), "submitted to a full disk");
    history_.push_back({.op = request.op,
                        .offset = request.offset,
                        .length_bytes = request.length_bytes,
                        .buffer_count = request.buffers.size(),
                        .may_unmap = request.may_unmap,
                        .force_unit_access = request.force_unit_access});
    if (is_deferred_) {
      waiting_.push_back(std::move(request));
    } else {
      finish(std::move(request));
    }
  }

 private:
  struct Failure {
    BlockOp op;
    IoStatus status;
    uint32_t left;
  };

  void finish(BlockRequest request) {
    const IoStatus status = perform(request);
    request.completion.finish(status);
  }

  IoStatus perform(const BlockRequest& request) {
    if (const auto injected = take_failure(request.op)) {
      return *injected;
    }
    const uint64_t offset = request.offset.bytes();
    if (offset > bytes_.size() || request.length_bytes > bytes_.size() - offset) {
      return IoStatus::kOutOfRange;
    }
    if (is_read_only_ && request.op != BlockOp::kRead && request.op != BlockOp::kFlush) {
      return IoStatus::kReadOnly;
    }
    const auto range =
        std::span(bytes_).subspan(static_cast<size_t>(offset), static_cast<size_t>(request.length_bytes));
    switch (request.op) {
      case BlockOp::kRead:
      case BlockOp::kWrite:
        copy(request, range);
        break;
      case BlockOp::kDiscard:
      case BlockOp::kWriteZeroes:
        std::ranges::fill(range, std::byte{0});
        break;
      case BlockOp::kFlush:
        break;
    }
    return IoStatus::kOk;
  }

  static void copy(const BlockRequest& request, std::span<std::byte> range) {
    uint64_t total = 0;
    for (const iovec& buffer : request.buffers) {
      total += buffer.iov_len;
    }
    VMM_CHECK(total == request.length_bytes, "the buffers do not add up to the length of the request");
    std::byte* position = range.data();
    for (const iovec& buffer : request.buffers) {
      if (buffer.iov_len == 0) {
        continue;
      }
      if (request.op == BlockOp::kRead) {
        std::memcpy(buffer.iov_base, position, buffer.iov_len);
      } else {
        std::memcpy(position, buffer.iov_base, buffer.iov_len);
      }
      position += buffer.iov_len;
    }
  }

  std::optional<IoStatus> take_failure(BlockOp op) {
    for (Failure& failure : failures_) {
      if (failure.op == op && failure.left > 0) {
        --failure.left;
        return failure.status;
      }
    }
    return std::nullopt;
  }

  std::vector<std::byte> bytes_;
  BlockLimits limits_;
  bool is_read_only_ = false;
  bool is_deferred_ = false;
  bool is_limited_ = false;
  uint32_t capacity_ = std::numeric_limits<uint32_t>::max();
  std::vector<Failure> failures_;
  std::vector<BlockRequest> waiting_;
  std::vector<Record> history_;
};

}  // namespace vmm::block
