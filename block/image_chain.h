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
    std::vector<DiskLayer> layers;  // the overlay of a throwaway disk is none
  };

  // Overlay first; not empty. `base` is what they stand on, where that is a disk of its own.
  struct Layers {
    std::vector<std::unique_ptr<ImageFormat>> own;
    std::unique_ptr<BlockDevice> base;
    std::vector<ImageFormat*> of_base;

    std::vector<ImageFormat*> all() const;
  };

  // Without a writer the disk is read-only. The reader reads these layers. `file` is any file of theirs.
  ImageChain(Layers layers, std::unique_ptr<ChainReader> reader, std::unique_ptr<ImageWriter> writer,
             HostFile& file, const Options& options);
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
  std::vector<DiskLayer> layers() const override { return options_.layers; }
  BlockMap* block_map() override { return this; }
  CompressedWrites* compressed_writes() override { return compressed_ ? this : nullptr; }

  // nullptr: it stands on no disk of its own. What is written to it shows here wherever no layer above it has
  // anything.
  BlockDevice* base() { return layers_.base.get(); }
  // REQUIRES: this is destroyed before the base, and nothing is submitted to it any more.
  std::unique_ptr<BlockDevice> take_base() { return std::move(layers_.base); }
  // What the layer `depth` and those below it read as, read-only; destroyed before this. REQUIRES: there are
  // so many layers.
  std::unique_ptr<ImageChain> view_from(uint32_t depth) const;

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
  HostFile& file_;
  Layers layers_;
  std::vector<ImageFormat*> all_layers_;
  uint64_t size_bytes_;
  std::unique_ptr<ChainReader> reader_;
  std::unique_ptr<ImageWriter> writer_;
  std::optional<CompressedClusters> compressed_;

  std::vector<std::unique_ptr<Slot>> slots_;
  Slot* free_slots_ = nullptr;
  uint32_t in_flight_ = 0;
};

}  // namespace vmm::block
