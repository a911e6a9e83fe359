// BlockStatus: one answer to NBD_CMD_BLOCK_STATUS, for the context base:allocation.
//
// Threads: the disk's loop. It blocks as BlockMap does, for a bounded number of questions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "block/block_map.h"
#include "block/wait_queue.h"

namespace vmm::block::nbd {

class BlockStatus {
 public:
  enum class Step : uint8_t { kDone, kWait, kError };

  // What an answer takes at most.
  static constexpr size_t kMaxExtents = 1024;
  static constexpr size_t kMaxBytes = sizeof(uint32_t) + kMaxExtents * 2 * sizeof(uint32_t);

  BlockStatus() = default;
  // `to` gets the chunk's contents. REQUIRES: length > 0, and the range lies in the disk; kMaxBytes at `to`.
  BlockStatus(uint64_t offset, uint32_t length, bool is_one_extent, std::byte* to)
      : offset_(offset), left_(length), is_one_extent_(is_one_extent), to_(to) {}

  // map may be nullptr: nothing is known. kWait: the waiter will be told; then it is called again.
  // kError: nothing is known of the first byte, because of status().
  Step go_on(BlockMap* map, Waiter& waiter);

  IoStatus status() const { return status_; }
  // What has been written.
  size_t bytes() const { return sizeof(uint32_t) + extents_ * 2 * sizeof(uint32_t); }

 private:
  bool add(uint32_t length, uint32_t state);

  uint64_t offset_ = 0;
  uint32_t left_ = 0;
  bool is_one_extent_ = false;
  std::byte* to_ = nullptr;
  size_t extents_ = 0;
  uint32_t questions_ = 0;
  uint32_t last_length_ = 0;
  uint32_t last_state_ = 0;
  IoStatus status_ = IoStatus::kOk;
};

}  // namespace vmm::block::nbd
