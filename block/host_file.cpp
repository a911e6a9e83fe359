#include "block/host_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "block/image_lock.h"
#include "block/io_vector.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::block {
namespace {

uint64_t end_of(const FileRequest& request) { return request.offset.bytes() + request.length_bytes; }

}  // namespace

HostFile::HostFile(std::shared_ptr<Engine> engine, Files files, const Geometry& geometry, CacheMode cache,
                   bool may_discard)
    : engine_(std::move(engine)),
      files_(std::move(files)),
      geometry_(geometry),
      alignment_(files_.main.direct_alignment_bytes),
      cache_(cache),
      may_discard_(may_discard) {
  VMM_CHECK(alignment_ <= BouncePool::kBufferBytes, "a block is larger than a bounce buffer");
}

HostFile::~HostFile() {
  VMM_CHECK(in_flight_ == 0, "a file was closed with requests in flight");
  unlock_image(files_.main.fd);
}

void HostFile::submit(FileRequest& request) {
  ++in_flight_;
  request.operation.request = &request;
  request.operation.host = this;
  request.operation.done = operation_done;
  request.is_ordered = false;
  request.step = Step::kNothing;
  request.done_bytes = 0;
  request.bounce = nullptr;
  if (request.op == BlockOp::kFlush) {
    submit_flush(request);
  } else if (request.length_bytes == 0) {
    finish_without_work(request, IoStatus::kOk);
  } else if (request.op == BlockOp::kDiscard) {
    submit_discard(request);
  } else {
    start_in_order(request);
  }
}

void HostFile::finish_later(FileRequest& request, IoStatus status) {
  ++in_flight_;
  request.operation.request = &request;
  request.operation.host = this;
  request.operation.done = operation_done;
  request.is_ordered = false;
  request.bounce = nullptr;
  finish_without_work(request, status);
}

void HostFile::finish_without_work(FileRequest& request, IoStatus status) {
  request.step = Step::kNothing;
  engine_->finish_later(request.operation, status);
}

void HostFile::submit_flush(FileRequest& request) {
  request.write_count = writes_done_;
  if (cache_ == CacheMode::kUnsafe || writes_flushed_ == writes_done_) {
    finish_without_work(request, IoStatus::kOk);
    return;
  }
  issue(request, Step::kSync, FileOp::kSync, {}, {});
}

// A discard is a hint: what does not fill the file system's blocks is left as it is.
void HostFile::submit_discard(FileRequest& request) {
  const ByteRange whole{.begin = align_up(request.offset.bytes(), geometry_.discard_alignment_bytes),
                        .end = align_down(end_of(request), geometry_.discard_alignment_bytes)};
  if (!may_discard_ || cannot_discard_ || whole.begin >= whole.end) {
    finish_without_work(request, IoStatus::kOk);
    return;
  }
  request.discarded_range = whole;
  start_in_order(request);
}

// Only with O_DIRECT are there writes that must not meet. Reads need not wait: bytes beside those that a
// write changes are the same before and after.
void HostFile::start_in_order(FileRequest& request) {
  if (alignment_ > 1 && request.op != BlockOp::kRead) {
    const ByteRange range{.begin = request.offset.bytes(), .end = end_of(request)};
    request.is_alone =
        range.begin % alignment_ != 0 || range.end % alignment_ != 0 || touches_partial_block(request);
    // A write through the page cache writes whole pages back: what is alone is alone in its pages.
    request.ordered_range =
        request.is_alone ? widened(range, std::max<uint64_t>(alignment_, kPageBytes)) : range;
    if (!write_order_.admit(request)) {
      return;
    }
  }
  start(request);
}

void HostFile::start(FileRequest& request) {
  const ByteRange range{.begin = request.offset.bytes(), .end = end_of(request)};
  switch (request.op) {
    case BlockOp::kRead:
    case BlockOp::kWrite:
      if (is_aligned(request) || touches_partial_block(request)) {
        issue(request, Step::kWhole, request.op == BlockOp::kRead ? FileOp::kRead : FileOp::kWrite, range,
              request.buffers);
      } else {
        start_bounced(request);
      }
      break;
    case BlockOp::kWriteZeroes:
      next_zeroes(request);
      break;
    case BlockOp::kDiscard:
      issue(request, Step::kWhole, files_.main.is_block_device ? FileOp::kDiscardBlocks : FileOp::kPunchHole,
            request.discarded_range, {});
      break;
    case BlockOp::kFlush:
      break;
  }
}

void HostFile::issue(FileRequest& request, Step step, FileOp op, const ByteRange& range,
                     std::span<const iovec> buffers) {
  const bool has_data = op == FileOp::kRead || op == FileOp::kWrite;
  request.step = step;
  request.operation.file = has_data && touches_partial_block(request) ? &files_.tail : &files_.main;
  request.operation.op = op;
  request.operation.force_unit_access = op == FileOp::kWrite && needs_stable_storage(request);
  request.operation.offset = FileOffset(range.begin);
  request.operation.length_bytes = range.length();
  request.operation.buffers = buffers;
  engine_->submit(request.operation);
}

void HostFile::operation_done(FileOperation& operation, IoStatus status) {
  auto& own = static_cast<FileRequest::Operation&>(operation);
  own.host->step_done(*own.request, status);
}

void HostFile::step_done(FileRequest& request, IoStatus status) {
  switch (request.step) {
    case Step::kNothing:
      finish(request, status);
      break;
    case Step::kWhole:
      work_done(request, status);
      break;
    case Step::kZeroRange:
      zero_range_done(request, status);
      break;
    case Step::kReadChunk:
    case Step::kReadHead:
    case Step::kReadTail:
    case Step::kWriteChunk:
      bounce_step_done(request, status);
      break;
    case Step::kSync:
      sync_done(request, status);
      break;
  }
}

// --- Zeroes ---

// By the file system as far as it can, else by writing: blocks that are not zeroed whole, and all of them
// where neither fallocate mode is known.
void HostFile::next_zeroes(FileRequest& request) {
  const ByteRange left{.begin = request.offset.bytes() + request.done_bytes, .end = end_of(request)};
  if (left.begin == left.end) {
    work_done(request, IoStatus::kOk);
    return;
  }
  const uint64_t whole_end = align_down(left.end, geometry_.zero_alignment_bytes);
  if (left.begin % geometry_.zero_alignment_bytes == 0 && left.begin < whole_end &&
      (may_punch(request) || !cannot_zero_)) {
    issue(request, Step::kZeroRange, may_punch(request) ? FileOp::kPunchHole : FileOp::kZeroRange,
          {.begin = left.begin, .end = whole_end}, {});
    return;
  }
  start_bounced(request);
}

bool HostFile::may_punch(const FileRequest& request) const {
  return request.may_unmap && may_discard_ && !cannot_punch_;
}

void HostFile::zero_range_done(FileRequest& request, IoStatus status) {
  if (status == IoStatus::kUnsupported) {
    (request.operation.op == FileOp::kPunchHole ? cannot_punch_ : cannot_zero_) = true;
    next_zeroes(request);
  } else if (status == IoStatus::kOk) {
    request.done_bytes += request.operation.length_bytes;
    next_zeroes(request);
  } else {
    work_done(request, status);
  }
}

// --- Bounced transfers: chunk by chunk through an aligned buffer ---

void HostFile::start_bounced(FileRequest& request) {
  if (request.bounce == nullptr) {
    request.bounce = bounces_.take();
  }
  if (request.bounce != nullptr) {
    next_chunk(request);
  } else if (bounces_.in_use() > 0) {
    waiting_for_bounce_.push(request.operation);
  } else {
    // None is in use and there is none: the host is out of memory.
    request.step = Step::kWhole;
    engine_->finish_later(request.operation, IoStatus::kIoError);
  }
}

// What of the request goes through the bounce buffer next.
ByteRange HostFile::next_payload(const FileRequest& request) const {
  const uint64_t begin = request.offset.bytes() + request.done_bytes;
  uint64_t end = std::min(end_of(request), align_down(begin, alignment_) + BouncePool::kBufferBytes);
  if (request.op == BlockOp::kWriteZeroes && begin % geometry_.zero_alignment_bytes != 0) {
    // From there on the file system may be able to do it.
    end = std::min(end, align_up(begin, geometry_.zero_alignment_bytes));
  }
  return {.begin = begin, .end = end};
}

void HostFile::next_chunk(FileRequest& request) {
  request.payload = next_payload(request);
  // The tail file takes any offset and length.
  request.chunk = touches_partial_block(request) ? request.payload : widened(request.payload, alignment_);
  if (request.op == BlockOp::kRead) {
    issue_chunk(request, Step::kReadChunk, FileOp::kRead, request.chunk);
  } else if (request.payload.begin != request.chunk.begin) {
    issue_chunk(request, Step::kReadHead, FileOp::kRead,
                {.begin = request.chunk.begin, .end = request.chunk.begin + alignment_});
  } else {
    read_tail(request);
  }
}

void HostFile::read_tail(FileRequest& request) {
  const bool is_read_already = request.step == Step::kReadHead && request.chunk.length() == alignment_;
  if (request.payload.end != request.chunk.end && !is_read_already) {
    issue_chunk(request, Step::kReadTail, FileOp::kRead,
                {.begin = request.chunk.end - alignment_, .end = request.chunk.end});
  } else {
    write_chunk(request);
  }
}

void HostFile::write_chunk(FileRequest& request) {
  const std::span<std::byte> bytes = payload_bytes(request);
  if (request.op == BlockOp::kWriteZeroes) {
    std::ranges::fill(bytes, std::byte{0});
  } else {
    copy_from_buffers(request.buffers, request.done_bytes, bytes);
  }
  issue_chunk(request, Step::kWriteChunk, FileOp::kWrite, request.chunk);
}

// REQUIRES: the range lies in the chunk.
void HostFile::issue_chunk(FileRequest& request, Step step, FileOp op, const ByteRange& range) {
  request.bounce_vector = {.iov_base = request.bounce + (range.begin - request.chunk.begin),
                           .iov_len = static_cast<size_t>(range.length())};
  issue(request, step, op, range, std::span<const iovec>(&request.bounce_vector, 1));
}

std::span<std::byte> HostFile::payload_bytes(const FileRequest& request) {
  return {request.bounce + (request.payload.begin - request.chunk.begin),
          static_cast<size_t>(request.payload.length())};
}

void HostFile::bounce_step_done(FileRequest& request, IoStatus status) {
  if (status != IoStatus::kOk) {
    work_done(request, status);
  } else if (request.step == Step::kReadHead) {
    read_tail(request);
  } else if (request.step == Step::kReadTail) {
    write_chunk(request);
  } else {
    chunk_done(request);
  }
}

void HostFile::chunk_done(FileRequest& request) {
  if (request.op == BlockOp::kRead) {
    copy_to_buffers(request.buffers, request.done_bytes, payload_bytes(request));
  }
  request.done_bytes += request.payload.length();
  if (request.op == BlockOp::kWriteZeroes) {
    next_zeroes(request);
  } else if (request.done_bytes < request.length_bytes) {
    next_chunk(request);
  } else {
    work_done(request, IoStatus::kOk);
  }
}

// --- The end of a request ---

void HostFile::work_done(FileRequest& request, IoStatus status) {
  if (request.op == BlockOp::kRead) {
    finish(request, status);
    return;
  }
  ++writes_done_;
  if (request.op == BlockOp::kDiscard && status == IoStatus::kUnsupported) {
    cannot_discard_ = true;
    status = IoStatus::kOk;
  }
  if (status == IoStatus::kOk && request.op != BlockOp::kWrite && needs_stable_storage(request)) {
    request.write_count = writes_done_;
    issue(request, Step::kSync, FileOp::kSync, {}, {});
    return;
  }
  finish(request, status);
}

void HostFile::sync_done(FileRequest& request, IoStatus status) {
  const IoStatus told = has_lost_writes_ ? IoStatus::kIoError : status;
  if (status == IoStatus::kOk) {
    writes_flushed_ = std::max(writes_flushed_, request.write_count);
  } else {
    // The kernel has marked the pages as clean: a later fdatasync would succeed without them.
    has_lost_writes_ = has_lost_writes_ || !is_direct(cache_);
  }
  finish(request, told);
}

void HostFile::finish(FileRequest& request, IoStatus status) {
  return_bounce(request);
  if (request.is_ordered) {
    write_order_.leave(request);
    while (FileRequest* next = write_order_.next_admitted()) {
      start(*next);
    }
  }
  --in_flight_;
  request.done(request, status);
}

void HostFile::return_bounce(FileRequest& request) {
  if (request.bounce == nullptr) {
    return;
  }
  bounces_.give_back(std::exchange(request.bounce, nullptr));
  if (FileOperation* waiting = waiting_for_bounce_.pop()) {
    start_bounced(*static_cast<FileRequest::Operation*>(waiting)->request);
  }
}

// --- For tools ---

HostFile::Run HostFile::run_at(FileOffset offset, uint64_t length) const {
  const int fd = files_.main.fd.get();
  const auto begin = static_cast<off_t>(offset.bytes());
  if (files_.main.is_block_device) {
    return {.is_hole = false, .length = length};
  }
  const off_t data = ::lseek(fd, begin, SEEK_DATA);
  if (data < 0) {
    return {.is_hole = errno == ENXIO, .length = length};
  }
  if (data > begin) {
    return {.is_hole = true, .length = std::min(length, static_cast<uint64_t>(data - begin))};
  }
  const off_t hole = ::lseek(fd, begin, SEEK_HOLE);
  return {.is_hole = false,
          .length = hole <= begin ? length : std::min(length, static_cast<uint64_t>(hole - begin))};
}

uint64_t HostFile::allocated_bytes() const {
  constexpr uint64_t kStatBlockBytes = 512;
  struct stat info{};
  if (files_.main.is_block_device || ::fstat(files_.main.fd.get(), &info) != 0) {
    return UINT64_MAX;
  }
  return static_cast<uint64_t>(info.st_blocks) * kStatBlockBytes;
}

bool HostFile::is_same_file(const HostFile& other) const {
  struct stat ours{};
  struct stat theirs{};
  return ::fstat(files_.main.fd.get(), &ours) == 0 && ::fstat(other.files_.main.fd.get(), &theirs) == 0 &&
         ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

// --- Questions ---

ByteRange HostFile::widened(const ByteRange& range, uint64_t alignment) {
  return {.begin = align_down(range.begin, alignment), .end = align_up(range.end, alignment)};
}

bool HostFile::is_aligned(const FileRequest& request) const {
  return alignment_ == 1 || (((request.offset.bytes() | request.length_bytes) & (alignment_ - 1)) == 0 &&
                             buffers_are_aligned(request.buffers, geometry_.memory_alignment_bytes,
                                                 static_cast<size_t>(alignment_)));
}

bool HostFile::touches_partial_block(const FileRequest& request) const {
  return end_of(request) > geometry_.partial_block_offset;
}

bool HostFile::needs_stable_storage(const FileRequest& request) const {
  return block::needs_stable_storage(cache_, request.force_unit_access);
}

}  // namespace vmm::block
