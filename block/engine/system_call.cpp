#include "block/engine/system_call.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace vmm::block {
namespace {

int64_t or_errno(ssize_t result) { return result < 0 ? -static_cast<int64_t>(errno) : result; }

int64_t transfer(FileOperation& operation) {
  const int fd = operation.file->fd.get();
  const FilePart part = next_part(operation);
  const auto count = static_cast<int>(part.buffers.size());
  const auto offset = static_cast<off_t>(part.offset.bytes());
  if (operation.op == FileOp::kRead) {
    return or_errno(::preadv(fd, part.buffers.data(), count, offset));
  }
  return or_errno(
      ::pwritev2(fd, part.buffers.data(), count, offset, operation.force_unit_access ? RWF_DSYNC : 0));
}

int64_t allocate(const FileOperation& operation, int mode) {
  return or_errno(::fallocate(operation.file->fd.get(), mode, static_cast<off_t>(operation.offset.bytes()),
                              static_cast<off_t>(operation.length_bytes)));
}

}  // namespace

int64_t call_kernel(FileOperation& operation) {
  switch (operation.op) {
    case FileOp::kRead:
    case FileOp::kWrite:
      return transfer(operation);
    case FileOp::kSync:
      return or_errno(::fdatasync(operation.file->fd.get()));
    case FileOp::kPunchHole:
      return allocate(operation, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    case FileOp::kZeroRange:
      return allocate(operation, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
    case FileOp::kDiscardBlocks: {
      std::array<uint64_t, 2> range = {operation.offset.bytes(), operation.length_bytes};
      return or_errno(::ioctl(operation.file->fd.get(), BLKDISCARD, range.data()));
    }
  }
  return -EINVAL;
}

}  // namespace vmm::block
