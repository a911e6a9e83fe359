#include "block/engine/file_operation.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>

#include "block/io_vector.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::block {
namespace {

// Answers in a row that bring nothing (EINTR, EAGAIN, a write of 0 bytes) before the file counts as broken.
constexpr uint32_t kMaxFruitlessTries = 64;

constexpr uint64_t kNoRaggedEnd = UINT64_MAX;

iovec rest_of(const iovec& buffer, size_t offset_bytes) {
  return {.iov_base = static_cast<std::byte*>(buffer.iov_base) + offset_bytes,
          .iov_len = buffer.iov_len - offset_bytes};
}

std::optional<IoStatus> try_again(FileOperation& operation) {
  ++operation.fruitless_tries;
  return operation.fruitless_tries < kMaxFruitlessTries ? std::nullopt : std::optional(IoStatus::kIoError);
}

std::optional<IoStatus> accept_end_of_file(FileOperation& operation) {
  if (operation.op == FileOp::kWrite) {
    return try_again(operation);
  }
  zero_buffers(operation.buffers, operation.moved_bytes);
  return IoStatus::kOk;
}

bool has_data(FileOp op) { return op == FileOp::kRead || op == FileOp::kWrite; }

// A direct transfer that stops inside a block cannot go on from there: it goes back to the start of the
// block. If it then stops at the same place, that is where the file ends.
std::optional<IoStatus> accept_ragged_end(FileOperation& operation) {
  if (operation.op == FileOp::kRead && operation.moved_bytes == operation.ragged_end_bytes) {
    return accept_end_of_file(operation);
  }
  operation.ragged_end_bytes = operation.moved_bytes;
  operation.moved_bytes = align_down(operation.moved_bytes, operation.file->direct_alignment_bytes);
  return try_again(operation);
}

}  // namespace

void start_operation(FileOperation& operation) {
  operation.moved_bytes = 0;
  operation.ragged_end_bytes = kNoRaggedEnd;
  operation.fruitless_tries = 0;
}

FilePart next_part(FileOperation& operation) {
  constexpr size_t kMaxBuffers = IOV_MAX;
  if (operation.moved_bytes == 0 && operation.buffers.size() <= kMaxBuffers) {
    return {.offset = operation.offset, .buffers = operation.buffers};
  }
  const FileOffset offset(operation.offset.bytes() + operation.moved_bytes);
  const BufferPosition position = locate(operation.buffers, operation.moved_bytes);
  if (position.offset_bytes != 0) {
    operation.rest_of_buffer = rest_of(operation.buffers[position.index], position.offset_bytes);
    return {.offset = offset, .buffers = std::span<const iovec>(&operation.rest_of_buffer, 1)};
  }
  const auto rest = operation.buffers.subspan(position.index);
  return {.offset = offset, .buffers = rest.first(std::min(rest.size(), kMaxBuffers))};
}

std::optional<IoStatus> accept_result(FileOperation& operation, int64_t result) {
  if (result < 0) {
    // ECANCELED: the thread that handed the operation to the kernel is gone, not the file.
    if (result == -EINTR || result == -EAGAIN || result == -ECANCELED) {
      return try_again(operation);
    }
    // Only reads and writes have arguments that we can get wrong: elsewhere the file system does not know it.
    if (result == -EINVAL && !has_data(operation.op)) {
      return IoStatus::kUnsupported;
    }
    return io_status_of_errno(static_cast<int>(-result));
  }
  if (!has_data(operation.op)) {
    return IoStatus::kOk;
  }
  const auto moved = static_cast<uint64_t>(result);
  VMM_CHECK(moved <= operation.length_bytes - operation.moved_bytes,
            "the kernel moved more than it was asked");
  if (moved == 0 && operation.length_bytes > operation.moved_bytes) {
    return accept_end_of_file(operation);
  }
  operation.moved_bytes += moved;
  if (operation.moved_bytes == operation.length_bytes) {
    return IoStatus::kOk;
  }
  if (operation.moved_bytes % operation.file->direct_alignment_bytes != 0) {
    return accept_ragged_end(operation);
  }
  operation.fruitless_tries = 0;
  return std::nullopt;
}

IoStatus io_status_of_errno(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return IoStatus::kNoSpace;
    case EOPNOTSUPP:
    case ENOSYS:
    case ENOTTY:
    case ENODEV:
      return IoStatus::kUnsupported;
    case EROFS:
    case EPERM:
    case EBADF:
      return IoStatus::kReadOnly;
    default:
      return IoStatus::kIoError;
  }
}

}  // namespace vmm::block
