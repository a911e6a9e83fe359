// FileOperation: one thing to be done to one open file, and how far it has come.
//
// An engine takes it, the kernel answers in parts (read(2): "it is not an error if this number is smaller
// than the number of bytes requested"), and accept_result() says whether it is done. Threads: an operation
// belongs to the engine's owner loop between submit() and done, but for a worker thread that holds it.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "block/block_device.h"
#include "vmm/base/unique_fd.h"

namespace vmm::block {

// An offset in an image file. Offsets in the disk that a guest sees are another type.
class FileOffset {
 public:
  constexpr FileOffset() = default;
  explicit constexpr FileOffset(uint64_t bytes) : bytes_(bytes) {}
  constexpr uint64_t bytes() const { return bytes_; }
  friend constexpr auto operator<=>(FileOffset, FileOffset) = default;

 private:
  uint64_t bytes_ = 0;
};

// An open file or block device, as an engine needs to know it.
struct OpenFile {
  UniqueFd fd;
  // With O_DIRECT: what offsets and lengths must be multiples of; 1 without.
  uint32_t direct_alignment_bytes = 1;
  bool is_block_device = false;
};

enum class FileOp : uint8_t {
  kRead,           // past the end of the file: zeroes
  kWrite,          // force_unit_access: on stable storage before done (RWF_DSYNC)
  kSync,           // fdatasync(2)
  kPunchHole,      // reads as zeroes afterwards, space given back; the file keeps its size
  kZeroRange,      // reads as zeroes afterwards, space kept; the file keeps its size
  kDiscardBlocks,  // block devices only: contents undefined afterwards (BLKDISCARD)
};

struct FileOperation {
  // May submit further operations, and this one again.
  using Done = void (*)(FileOperation& operation, IoStatus status);

  // Set before submit(), constant until done.
  const OpenFile* file = nullptr;
  Done done = nullptr;
  FileOp op = FileOp::kRead;
  bool force_unit_access = false;
  FileOffset offset;
  // kRead, kWrite: the sum of `buffers`, which stay alive and in place.
  uint64_t length_bytes = 0;
  std::span<const iovec> buffers;

  // Kept by the engine.
  uint64_t moved_bytes = 0;
  uint64_t ragged_end_bytes = 0;  // where a direct transfer stopped inside a block, if it did
  uint32_t fruitless_tries = 0;
  IoStatus status = IoStatus::kOk;
  iovec rest_of_buffer{};
  FileOperation* next = nullptr;
};

// The part of a read or write that goes to the kernel next. `buffers` lives as long as the operation.
struct FilePart {
  FileOffset offset;
  std::span<const iovec> buffers;  // at most IOV_MAX
};

// Makes an operation ready for its first part.
void start_operation(FileOperation& operation);

// REQUIRES: kRead or kWrite, not yet done.
FilePart next_part(FileOperation& operation);

// Takes the kernel's answer to the last part: bytes moved (0 for operations without data), or a negative
// errno. Nothing: go on with next_part(), or the same call again. Bounded: a kernel that never gets on ends
// in kIoError.
std::optional<IoStatus> accept_result(FileOperation& operation, int64_t result);

// error_number > 0.
IoStatus io_status_of_errno(int error_number);

// A queue of operations, linked through themselves.
class OperationQueue {
 public:
  OperationQueue() = default;
  OperationQueue(OperationQueue&& other) noexcept
      : head_(std::exchange(other.head_, nullptr)), tail_(std::exchange(other.tail_, nullptr)) {}
  OperationQueue& operator=(OperationQueue&&) = delete;
  OperationQueue(const OperationQueue&) = delete;
  OperationQueue& operator=(const OperationQueue&) = delete;
  ~OperationQueue() = default;

  bool empty() const { return head_ == nullptr; }
  // The first, if there is no second.
  const FileOperation* only() const { return head_ == tail_ ? head_ : nullptr; }

  void push(FileOperation& operation) {
    operation.next = nullptr;
    (head_ == nullptr ? head_ : tail_->next) = &operation;
    tail_ = &operation;
  }

  void append(OperationQueue&& other) {
    if (other.empty()) {
      return;
    }
    (head_ == nullptr ? head_ : tail_->next) = std::exchange(other.head_, nullptr);
    tail_ = std::exchange(other.tail_, nullptr);
  }

  // nullptr when empty.
  FileOperation* pop() {
    FileOperation* first = head_;
    if (first != nullptr) {
      head_ = std::exchange(first->next, nullptr);
    }
    return first;
  }

 private:
  FileOperation* head_ = nullptr;
  FileOperation* tail_ = nullptr;  // valid while head_ is not nullptr
};

}  // namespace vmm::block
