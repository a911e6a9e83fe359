// RawImage: a disk whose bytes lie in a file or block device as they are.
//
// Its size is fixed when it is opened. See block_device.h for threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "block/block_map.h"
#include "block/disk_options.h"
#include "block/host_file.h"

namespace vmm::block {

class RawImage final : public BlockDevice, private BlockMap {
 public:
  struct Options {
    std::string path;
    uint64_t size_bytes = 0;
    bool read_only = false;
    DetectZeroes detect_zeroes = DetectZeroes::kOff;
    BlockLimits limits;
  };

  RawImage(std::unique_ptr<HostFile> file, const Options& options);
  // REQUIRES: nothing in flight.
  ~RawImage() override;
  RawImage(const RawImage&) = delete;
  RawImage& operator=(const RawImage&) = delete;

  uint64_t size_bytes() const override { return options_.size_bytes; }
  bool is_read_only() const override { return options_.read_only; }
  BlockLimits limits() const override { return options_.limits; }
  void submit(BlockRequest request) override;
  bool can_accept() const override { return free_slots_ != nullptr; }
  uint32_t in_flight() const override { return in_flight_; }
  std::vector<DiskLayer> layers() const override {
    return {{.path = options_.path, .format = Format::kRaw, .size_bytes = options_.size_bytes}};
  }
  BlockMap* block_map() override { return this; }
  HostFile& file() { return *file_; }

 private:
  struct Slot : FileRequest {
    RawImage* image = nullptr;
    Slot* next_free = nullptr;
    Completion completion;
  };

  BlockRun map(DiskOffset offset, uint64_t length, Waiter& waiter) override;
  static void slot_done(FileRequest& request, IoStatus status);
  IoStatus judge(const BlockRequest& request) const;
  Slot& take_slot();

  // Constant after construction.
  std::unique_ptr<HostFile> file_;
  Options options_;

  std::vector<Slot> slots_;
  Slot* free_slots_ = nullptr;
  uint32_t in_flight_ = 0;
};

}  // namespace vmm::block
