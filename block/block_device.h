// BlockDevice: what a front end (virtio-blk, a CD-ROM, vmm-img) holds of a disk. It knows nothing of guests.
//
// Threads: a BlockDevice belongs to one EventLoop (its I/O thread). submit() is called on that thread only
// and completions run on it. The const getters are constant after construction and may be called from any
// thread.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "block/disk_layer.h"
#include "vmm/base/check.h"

namespace vmm::block {

// An offset in the disk that the front end sees. Offsets in image files are another type.
class DiskOffset {
 public:
  constexpr DiskOffset() = default;
  explicit constexpr DiskOffset(uint64_t bytes) : bytes_(bytes) {}
  constexpr uint64_t bytes() const { return bytes_; }
  friend constexpr auto operator<=>(DiskOffset, DiskOffset) = default;

 private:
  uint64_t bytes_ = 0;
};

enum class IoStatus : uint8_t {
  kOk,
  kIoError,      // the host could not do it (EIO and whatever is not below)
  kNoSpace,      // ENOSPC, EDQUOT
  kOutOfRange,   // the request reaches past the end of the disk
  kReadOnly,     // a write to a read-only disk
  kUnsupported,  // this disk cannot do that
};

enum class BlockOp : uint8_t { kRead, kWrite, kFlush, kDiscard, kWriteZeroes };

// The end of one request, called exactly once: dropping it uncalled is a fault of ours. No allocation;
// context outlives the request.
class Completion {
 public:
  using Function = void (*)(void* context, uint64_t cookie, IoStatus status);

  Completion() = default;
  Completion(Function function, void* context, uint64_t cookie)
      : function_(function), context_(context), cookie_(cookie) {}
  Completion(Completion&& other) noexcept
      : function_(std::exchange(other.function_, nullptr)),
        context_(other.context_),
        cookie_(other.cookie_) {}
  Completion& operator=(Completion&& other) noexcept {
    VMM_CHECK(function_ == nullptr, "a block request was forgotten");
    function_ = std::exchange(other.function_, nullptr);
    context_ = other.context_;
    cookie_ = other.cookie_;
    return *this;
  }
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;
  ~Completion() { VMM_CHECK(function_ == nullptr, "a block request was forgotten"); }

  explicit operator bool() const { return function_ != nullptr; }
  void finish(IoStatus status) {
    VMM_CHECK(function_ != nullptr, "a block request was completed twice");
    std::exchange(function_, nullptr)(context_, cookie_, status);
  }

 private:
  Function function_ = nullptr;
  void* context_ = nullptr;
  uint64_t cookie_ = 0;
};

struct BlockRequest {
  BlockOp op = BlockOp::kRead;
  DiskOffset offset;
  // Bytes; the sum of the buffers for kRead and kWrite, 0 for kFlush. Any alignment.
  uint64_t length_bytes = 0;
  // kRead, kWrite: the array and the buffers stay alive and in place until completion.
  std::span<const iovec> buffers;
  // kWriteZeroes: the range may be deallocated, if it then reads as zeroes.
  bool may_unmap = false;
  // kWrite, kWriteZeroes: on stable storage before completion.
  bool force_unit_access = false;
  Completion completion;
};

// What sizes and offsets are told in by the formats, whatever the disk's own blocks are.
inline constexpr uint32_t kSectorBytes = 512;

// Of one disk; a front end with more waits for a completion.
inline constexpr size_t kRequestsInFlight = 256;

// What a disk can do, constant while it is open.
struct BlockLimits {
  uint32_t logical_block_bytes = 512;    // what a guest should be told; requests of any alignment are served
  uint32_t physical_block_bytes = 512;   // below this, writes may cost a read
  uint32_t optimal_io_bytes = 0;         // 0: nothing to say
  uint32_t discard_alignment_bytes = 0;  // 0: discard is not offered
  bool can_write_zeroes = false;
};

class BlockMap;
class CompressedWrites;

class BlockDevice {
 public:
  virtual ~BlockDevice() = default;

  virtual uint64_t size_bytes() const = 0;
  virtual bool is_read_only() const = 0;
  virtual BlockLimits limits() const = 0;

  // Takes the request. May complete it before it returns (never more than a bounded number of frames deep: a
  // completion may submit again). Requests in flight may be done in any order; kFlush covers what was
  // completed before it was submitted.
  virtual void submit(BlockRequest request) = 0;

  // False: the engine is full; the front end stops taking requests from the guest and goes on from a
  // completion.
  virtual bool can_accept() const = 0;

  // Requests not yet completed.
  virtual uint32_t in_flight() const = 0;

  // Nobody wants what was submitted any more: the guest has reset its device. What waits, for its turn within
  // a limit or for the host to be able to do it, ends now, with an error.
  virtual void drop_waiting() {}

  // The image first, then what it stands on; empty: it has no file.
  virtual std::vector<DiskLayer> layers() const { return {}; }

  // For tools; nullptr: nothing is known of this disk but what it reads as.
  virtual BlockMap* block_map() { return nullptr; }
  // For tools; nullptr: nothing can be stored compressed.
  virtual CompressedWrites* compressed_writes() { return nullptr; }
};

}  // namespace vmm::block
