// BlockMap: what is known of a disk's contents without reading them: data, zeroes, or nothing yet, and where
// in which file.
//
// For tools. Threads: the disk's loop only. It blocks: files are asked for their holes (lseek(2), SEEK_DATA).
#pragma once

#include <cstdint>
#include <optional>

#include "block/block_device.h"
#include "block/engine/file_operation.h"
#include "block/wait_queue.h"

namespace vmm::block {

class HostFile;

// The first part of a range of a disk.
struct BlockRun {
  enum class Kind : uint8_t {
    kKnown,
    kWait,   // a table must be loaded first: the waiter will be told, then ask again
    kError,  // `status` says why
  };
  Kind kind = Kind::kError;
  IoStatus status = IoStatus::kIoError;
  uint64_t length = 0;      // bytes; 1 to what was asked for
  uint32_t depth = 0;       // of the layer: 0 is the disk's own image, 1 its backing file
  bool is_present = false;  // the layer says what is there; else no layer does, and there are zeroes
  bool is_zero = false;     // reads as zeroes
  // No layer has it, and one of those that were asked ends before: whatever lies further down does not show.
  bool is_behind_end = false;
  bool is_data = false;  // bytes are stored; with is_zero: they are known to be zeroes
  bool is_compressed = false;
  // Where the bytes lie as they are (not where they are compressed or encrypted); also the place that is kept
  // for what reads as zeroes.
  const HostFile* file = nullptr;
  std::optional<FileOffset> offset;
};

class BlockMap {
 public:
  // REQUIRES: the range is not empty and lies in the disk.
  virtual BlockRun map(DiskOffset offset, uint64_t length, Waiter& waiter) = 0;

 protected:
  ~BlockMap() = default;
};

}  // namespace vmm::block
