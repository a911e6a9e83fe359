#include "block/copy/stream_device.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::block {
namespace {

constexpr size_t kZeroesStepBytes = size_t{1} << 20U;

// Holes are only right where nothing lies behind the place that is written to.
bool is_new_file(int fd) {
  struct stat info{};
  const int flags = ::fcntl(fd, F_GETFL);
  return ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && flags >= 0 && (flags & O_APPEND) == 0 &&
         ::lseek(fd, 0, SEEK_CUR) >= info.st_size;
}

}  // namespace

StreamDevice::StreamDevice(int fd, uint64_t size_bytes)
    : fd_(fd), size_bytes_(size_bytes), has_holes_(is_new_file(fd)) {}

void StreamDevice::submit(BlockRequest request) {
  const IoStatus status = serve(request);
  request.completion.finish(status);
}

IoStatus StreamDevice::serve(const BlockRequest& request) {
  if (error_ != 0) {
    return IoStatus::kIoError;
  }
  bool is_done = false;
  switch (request.op) {
    case BlockOp::kFlush:
      is_done = finish();
      break;
    case BlockOp::kWrite:
      VMM_CHECK(request.offset.bytes() == position_, "a stream is written in its order");
      is_done = std::ranges::all_of(request.buffers, [this](const iovec& buffer) {
        return write_all(std::span(static_cast<const std::byte*>(buffer.iov_base), buffer.iov_len));
      });
      break;
    case BlockOp::kWriteZeroes:
      VMM_CHECK(request.offset.bytes() == position_, "a stream is written in its order");
      is_done = write_zeroes(request.length_bytes);
      break;
    case BlockOp::kRead:
    case BlockOp::kDiscard:
      return IoStatus::kUnsupported;
  }
  return is_done ? IoStatus::kOk : error_ == ENOSPC ? IoStatus::kNoSpace : IoStatus::kIoError;
}

bool StreamDevice::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) {
      error_ = errno;
      return false;
    }
    if (written > 0) {
      bytes = bytes.subspan(static_cast<size_t>(written));
      position_ += static_cast<uint64_t>(written);
    }
  }
  return true;
}

bool StreamDevice::write_zeroes(uint64_t length) {
  if (has_holes_) {
    position_ += length;
    if (::lseek(fd_, static_cast<off_t>(length), SEEK_CUR) < 0) {
      error_ = errno;
    }
    return error_ == 0;
  }
  zeroes_.resize(kZeroesStepBytes);
  while (length > 0 && error_ == 0) {
    const size_t step = std::min<uint64_t>(length, kZeroesStepBytes);
    write_all(std::span<const std::byte>(zeroes_).first(step));
    length -= step;
  }
  return error_ == 0;
}

// A hole at the end is no part of the file yet.
bool StreamDevice::finish() {
  const off_t end = has_holes_ ? ::lseek(fd_, 0, SEEK_CUR) : 0;
  struct stat info{};
  if (has_holes_ &&
      (end < 0 || ::fstat(fd_, &info) != 0 || (info.st_size < end && ::ftruncate(fd_, end) != 0))) {
    error_ = errno;
  }
  // Pipes have no stable storage.
  if (error_ == 0 && ::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) {
    error_ = errno;
  }
  return error_ == 0;
}

}  // namespace vmm::block
