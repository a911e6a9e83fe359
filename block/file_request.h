// FileRequest: one request to a HostFile, and all the state that it needs on its way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "block/block_device.h"
#include "block/engine/file_operation.h"

namespace vmm::block {

class HostFile;

// [begin, end), in bytes of a file.
struct ByteRange {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t length() const { return end - begin; }
  bool overlaps(const ByteRange& other) const { return begin < other.end && other.begin < end; }
};

struct FileRequest {
  // May submit further requests, and this one again.
  using Done = void (*)(FileRequest& request, IoStatus status);

  // Set before submit(), constant until done; as in BlockRequest, but for the type of the offset.
  Done done = nullptr;
  BlockOp op = BlockOp::kRead;
  bool may_unmap = false;
  bool force_unit_access = false;
  FileOffset offset;
  uint64_t length_bytes = 0;
  std::span<const iovec> buffers;

  // Kept by the HostFile.
  struct Operation : FileOperation {
    FileRequest* request = nullptr;
    HostFile* host = nullptr;
  };
  enum class Step : uint8_t {
    kNothing,     // the status is known already
    kWhole,       // the operation is the whole request
    kReadChunk,   // into the bounce buffer
    kReadHead,    // the block that the chunk begins in
    kReadTail,    // the block that the chunk ends in
    kWriteChunk,  // from the bounce buffer
    kZeroRange,   // by the file system
    kSync,        // after the work was done
  };
  Operation operation;
  Step step = Step::kNothing;
  bool is_ordered = false;  // known to the WriteOrder
  bool is_alone = false;    // shares its range with no other write
  ByteRange ordered_range;
  ByteRange discarded_range;
  ByteRange payload;  // what of the request goes through the bounce buffer now
  ByteRange chunk;    // the payload and the rest of its blocks: what the bounce buffer holds
  uint64_t done_bytes = 0;
  uint64_t write_count = 0;  // kFlush: what it covers
  std::byte* bounce = nullptr;
  iovec bounce_vector{};
  FileRequest* next = nullptr;
  FileRequest* previous = nullptr;
};

// A list of requests, linked through themselves: each is in one list at most.
class RequestList {
 public:
  bool empty() const { return head_ == nullptr; }
  // nullptr when empty; go on by request->next.
  FileRequest* front() const { return head_; }
  void push_back(FileRequest& request);
  // REQUIRES: the request is in this list.
  void remove(FileRequest& request);

 private:
  FileRequest* head_ = nullptr;
  FileRequest* tail_ = nullptr;
};

}  // namespace vmm::block
