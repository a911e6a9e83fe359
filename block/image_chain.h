// ImageChain: a disk made of layers: overlay -> backing file -> … -> base. Only the overlay is ever written
// to.
//
// See block_device.h for threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "block/block_device.h"
#include "block/block_map.h"
#include "block/chain_reader.h"
#include "block/compressed_writes.h"
#include "block/disk_options.h"
#include "block/image_format.h"
#include "block/image_writer.h"

namespace vmm::block {

class ImageChain final : public BlockDevice, private BlockMap, private CompressedWrites {
 public:
  struct Options {
    DetectZeroes detect_zeroes = DetectZeroes::kOff;
    BlockLimits limits;
  };

  // Overlay first; not empty. Without a writer the disk is read-only. The reader reads these layers. `file`
  // is any file of the layers.
  ImageChain(std::vector<std::unique_ptr<ImageFormat>> layers, std::unique_ptr<ChainReader> reader,
             std::unique_ptr<ImageWriter> writer, HostFile& file, const Options& options);
  // REQUIRES: nothing in flight.
  ~ImageChain() override;
  ImageChain(const ImageChain&) = delete;
  ImageChain& operator=(const ImageChain&) = delete;

  uint64_t size_bytes() const override { return size_bytes_; }
  bool is_read_only() const override { return writer_ == nullptr; }
  BlockLimits limits() const override { return options_.limits; }
  void submit(BlockRequest request) override;
  bool can_accept() const override { return free_slots_ != nullptr; }
  // With what the layers do of their own accord.
  uint32_t in_flight() const override;
  BlockMap* block_map() override { return this; }
  CompressedWrites* compressed_writes() override { return compressed_ ? this : nullptr; }

 private:
  struct Slot {
    ImageChain* chain = nullptr;
    Slot* next_free = nullptr;
    Completion completion;
    ReadJob read;
    WriteJob write;
  };

  BlockRun map(DiskOffset offset, uint64_t length, Waiter& waiter) override;
  Compression compression() const override { return compressed_->compression; }
  uint64_t cluster_bytes() const override { return compressed_->cluster_bytes; }
  void submit_compressed(BlockRequest request) override;
  Slot& take_slot(BlockRequest& request);
  static void read_done(ReadJob& job, IoStatus status);
  static void write_done(WriteJob& job, IoStatus status);
  static void refused_done(FileRequest& request, IoStatus status);
  void finish(Slot& slot, IoStatus status);
  IoStatus judge(const BlockRequest& request) const;
  void refuse(Slot& slot, IoStatus status);
  void start_write(Slot& slot, const BlockRequest& request);

  // Constant after construction. The layers go last.
  Options options_;
  uint64_t size_bytes_;
  HostFile& file_;
  std::vector<std::unique_ptr<ImageFormat>> layers_;
  std::unique_ptr<ChainReader> reader_;
  std::unique_ptr<ImageWriter> writer_;
  std::optional<CompressedClusters> compressed_;

  std::vector<std::unique_ptr<Slot>> slots_;
  Slot* free_slots_ = nullptr;
  uint32_t in_flight_ = 0;
};

}  // namespace vmm::block
