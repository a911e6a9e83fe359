// FakeEngine: an engine over a file in memory. It keeps what was synced apart from what was not, refuses what
// O_DIRECT would refuse, answers in the order that the test likes, and fails or falls short where told.
#pragma once

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <span>
#include <vector>

#include "block/engine/engine.h"
#include "block/io_vector.h"

namespace vmm::block {

class FakeEngine final : public Engine {
 public:
  // memory_alignment_bytes is what the kernel wants of addresses where an OpenFile is direct.
  FakeEngine(std::span<const std::byte> content, uint32_t memory_alignment_bytes)
      : file_(content.begin(), content.end()),
        durable_(file_),
        memory_alignment_bytes_(memory_alignment_bytes) {}

  // --- Set up by the test ---

  void set_can_punch(bool can) { can_punch_ = can; }
  void set_can_zero(bool can) { can_zero_ = can; }
  // Kernel call number `call` (from 0) fails with errno, and changes nothing.
  void fail_call(uint64_t call, int error_number) { answers_[call] = -error_number; }
  // Every call from then on.
  void fail_calls_from(uint64_t call, int error_number) {
    broken_from_ = call;
    broken_errno_ = error_number;
  }
  // Kernel call number `call` moves at most so many bytes, if it moves any.
  void cut_call(uint64_t call, int64_t bytes) { answers_[call] = bytes; }

  // --- Done by the test ---

  // Waiting: kernel calls that may be answered next. REQUIRES for answer(): index < waiting().
  size_t waiting() const { return waiting_.size() + finished_.size(); }
  void answer(size_t index) {
    if (index < waiting_.size()) {
      answer_call(index);
    } else {
      answer_finished(index - waiting_.size());
    }
  }
  void answer_all() {
    while (waiting() > 0) {
      answer(0);
    }
  }

  // --- Looked at by the test ---

  const std::vector<std::byte>& file() const { return file_; }
  const std::vector<std::byte>& durable() const { return durable_; }
  uint64_t calls() const { return calls_; }
  uint64_t calls_of(FileOp op) const {
    const auto found = calls_by_op_.find(op);
    return found == calls_by_op_.end() ? 0 : found->second;
  }
  // Calls that O_DIRECT would have refused.
  uint64_t misaligned_calls() const { return misaligned_calls_; }

  // --- Engine ---

  EngineKind kind() const override { return EngineKind::kThreads; }
  uint32_t in_flight() const override { return static_cast<uint32_t>(waiting()); }
  void submit(FileOperation& operation) override {
    start_operation(operation);
    waiting_.push_back(&operation);
  }
  void finish_later(FileOperation& operation, IoStatus status) override {
    operation.status = status;
    finished_.push_back(&operation);
  }

 private:
  void answer_call(size_t index) {
    FileOperation& operation = *waiting_[index];
    const auto status = accept_result(operation, call_kernel(operation));
    if (status) {
      waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(index));
      operation.done(operation, *status);
    }
  }

  void answer_finished(size_t index) {
    FileOperation& operation = *finished_[index];
    finished_.erase(finished_.begin() + static_cast<std::ptrdiff_t>(index));
    operation.done(operation, operation.status);
  }

  int64_t call_kernel(FileOperation& operation) {
    const uint64_t call = calls_++;
    ++calls_by_op_[operation.op];
    const auto answer = answers_.find(call);
    if (call >= broken_from_) {
      return -broken_errno_;
    }
    if (answer != answers_.end() && answer->second < 0) {
      return answer->second;
    }
    const auto limit = answer == answers_.end() ? UINT64_MAX : static_cast<uint64_t>(answer->second);
    switch (operation.op) {
      case FileOp::kRead:
      case FileOp::kWrite:
        return transfer(operation, limit);
      case FileOp::kSync:
        durable_ = file_;
        return 0;
      case FileOp::kPunchHole:
        return zero(operation, can_punch_);
      case FileOp::kZeroRange:
        return zero(operation, can_zero_);
      case FileOp::kDiscardBlocks:
        return -EOPNOTSUPP;
    }
    return -EINVAL;
  }

  int64_t zero(const FileOperation& operation, bool can) {
    if (!can) {
      return -EOPNOTSUPP;
    }
    const uint64_t end = std::min<uint64_t>(operation.offset.bytes() + operation.length_bytes, file_.size());
    for (uint64_t i = operation.offset.bytes(); i < end; ++i) {
      file_[i] = std::byte{0};
    }
    return 0;
  }

  int64_t transfer(FileOperation& operation, uint64_t limit) {
    const FilePart part = next_part(operation);
    uint64_t length = 0;
    for (const iovec& buffer : part.buffers) {
      length += buffer.iov_len;
    }
    const uint64_t alignment = operation.file->direct_alignment_bytes;
    if (alignment > 1 && (part.offset.bytes() % alignment != 0 ||
                          !buffers_are_aligned(part.buffers, memory_alignment_bytes_, alignment))) {
      ++misaligned_calls_;
      return -EINVAL;
    }
    const uint64_t offset = part.offset.bytes();
    length = std::min(length, limit);
    if (operation.op == FileOp::kRead) {
      length = offset >= file_.size() ? 0 : std::min<uint64_t>(length, file_.size() - offset);
      copy_to_buffers(part.buffers, 0, std::span(file_).subspan(std::min(offset, file_.size()), length));
    } else {
      write(operation, part, length);
    }
    return static_cast<int64_t>(length);
  }

  void write(const FileOperation& operation, const FilePart& part, uint64_t length) {
    const uint64_t offset = part.offset.bytes();
    if (offset + length > file_.size()) {
      file_.resize(offset + length);
    }
    const auto range = std::span(file_).subspan(offset, length);
    copy_from_buffers(part.buffers, 0, range);
    if (operation.force_unit_access) {
      durable_.resize(std::max(durable_.size(), static_cast<size_t>(offset + length)));
      std::ranges::copy(range, durable_.begin() + static_cast<std::ptrdiff_t>(offset));
    }
  }

  std::vector<std::byte> file_;
  std::vector<std::byte> durable_;
  uint32_t memory_alignment_bytes_;
  bool can_punch_ = true;
  bool can_zero_ = true;
  std::map<uint64_t, int64_t> answers_;
  uint64_t broken_from_ = UINT64_MAX;
  int broken_errno_ = 0;
  std::deque<FileOperation*> waiting_;
  std::deque<FileOperation*> finished_;
  uint64_t calls_ = 0;
  uint64_t misaligned_calls_ = 0;
  std::map<FileOp, uint64_t> calls_by_op_;
};

}  // namespace vmm::block
