// ImageFormat: one layer of a disk image: it knows where bytes lie, and never moves them.
//
// Threads: the disk's loop, as BlockDevice.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "block/block_device.h"
#include "block/engine/file_operation.h"
#include "block/wait_queue.h"

namespace vmm::block {

class HostFile;
class SectorCipher;

// The first part of a range of a disk.
struct Extent {
  enum class Kind : uint8_t {
    kData,        // `length` bytes of `file` from `offset`
    kZeroes,      // reads as zeroes
    kBacking,     // the next layer has it
    kCompressed,  // in a compressed cluster: see below
    kWait,        // a table must be loaded first: the waiter will be told, then ask again
    kError,       // `status` says why
  };
  Kind kind = Kind::kError;
  IoStatus status = IoStatus::kIoError;
  uint64_t length = 0;  // bytes; 1 to what was asked for
  // Also the place that is kept for what is kZeroes or kBacking; nullptr: none.
  HostFile* file = nullptr;
  FileOffset offset;
  // kCompressed: stored_bytes from `offset`, which give cluster_bytes, of which the extent is a part.
  uint64_t stored_bytes = 0;
  uint64_t cluster_bytes = 0;
  uint64_t offset_in_cluster = 0;

  static Extent zeroes(uint64_t length) { return {.kind = Kind::kZeroes, .length = length}; }
  static Extent backing(uint64_t length) { return {.kind = Kind::kBacking, .length = length}; }
  static Extent wait() { return {.kind = Kind::kWait}; }
  static Extent error(IoStatus status) { return {.kind = Kind::kError, .status = status}; }
};

// Transfers of guest data under way: space that is freed meanwhile must not be used again before they are
// over. A transfer belongs to the period in which it began; a period ends when its successor has begun and
// all its transfers are over.
class TransferPeriods {
 public:
  using OnEnd = void (*)(void* context);
  void set_on_end(OnEnd on_end, void* context) {
    on_end_ = on_end;
    context_ = context;
  }

  uint32_t begin() {
    ++under_way_[current_];
    return current_;
  }
  void end(uint32_t period) {
    if (--under_way_[period] == 0 && period != current_ && on_end_ != nullptr) {
      on_end_(context_);
    }
  }
  bool are_under_way() const { return under_way_[0] + under_way_[1] > 0; }
  // The period before the present one is over.
  bool is_previous_over() const { return under_way_[current_ ^ 1U] == 0; }
  // REQUIRES: is_previous_over().
  void start_next() { current_ ^= 1U; }

 private:
  uint32_t current_ = 0;
  std::array<uint32_t, 2> under_way_{};
  OnEnd on_end_ = nullptr;
  void* context_ = nullptr;
};

// What a hole in the file of a layer's data means.
enum class Holes : uint8_t {
  kNotAsked,      // such images have few
  kNothing,       // nothing was written there
  kPreallocated,  // data that still are the zeroes that they began with
};

class ImageFormat {
 public:
  virtual ~ImageFormat() = default;

  // Of the disk that this layer describes.
  virtual uint64_t size_bytes() const = 0;

  // Where the bytes [offset, offset + length) begin. REQUIRES: the range is not empty; below the size of the
  // disk rounded up to the layer's cluster size.
  virtual Extent map_read(DiskOffset offset, uint64_t length, Waiter& waiter) = 0;

  // Decompresses one cluster into `cluster`; false if `stored` does not hold it.
  virtual bool decompress(std::span<const std::byte> stored, std::span<std::byte> cluster) {
    static_cast<void>(stored);
    static_cast<void>(cluster);
    return false;
  }

  // For tools; may block.
  virtual Holes holes() { return Holes::kNotAsked; }

  // nullptr: guest data are not encrypted.
  virtual const SectorCipher* cipher() const { return nullptr; }

  // nullptr: where bytes lie never changes.
  virtual TransferPeriods* transfers() { return nullptr; }

  // Requests of the layer's own (tables, commits) under way: the layer must not be destroyed meanwhile.
  virtual uint32_t background_requests() const { return 0; }
};

}  // namespace vmm::block
