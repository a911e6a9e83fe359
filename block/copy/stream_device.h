// StreamDevice: a disk that is written once, from its beginning to its end, to a pipe or a file that is open.
//
// What is written must come in the order of the disk without gaps, as CopyJob does it. Zeroes are left out of
// a new file, which then has holes; through a pipe they go as bytes. Blocks its thread. Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "block/block_device.h"

namespace vmm::block {

class StreamDevice final : public BlockDevice {
 public:
  // `fd` stays open.
  StreamDevice(int fd, uint64_t size_bytes);

  uint64_t size_bytes() const override { return size_bytes_; }
  bool is_read_only() const override { return false; }
  BlockLimits limits() const override { return {.can_write_zeroes = true}; }
  // kWrite, kWriteZeroes, and at the end kFlush.
  void submit(BlockRequest request) override;
  bool can_accept() const override { return true; }
  uint32_t in_flight() const override { return 0; }

 private:
  IoStatus serve(const BlockRequest& request);
  bool write_all(std::span<const std::byte> bytes);
  bool write_zeroes(uint64_t length);
  bool finish();

  int fd_;
  uint64_t size_bytes_;
  bool has_holes_;  // a new file
  uint64_t position_ = 0;
  int error_ = 0;  // errno of what failed first
  std::vector<std::byte> zeroes_;
};

}  // namespace vmm::block
