// ChainReader: reads what a guest sees through a stack of layers, overlay first.
//
// Below the last layer, and past the end of a layer shorter than the one above it, there are zeroes. Threads:
// the disk's loop only. No allocation per request: a job carries what it needs, and borrows from bounded
// pools.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "block/aligned_memory.h"
#include "block/block_device.h"
#include "block/host_file.h"
#include "block/image_format.h"
#include "block/io_vector.h"
#include "block/part_pool.h"
#include "block/wait_queue.h"

namespace vmm::block {

class ChainReader;
struct ReadJob;

// One transfer of a job.
struct ReadPart : FileRequest {
  ReadJob* job = nullptr;
  TransferPeriods* periods = nullptr;
  uint32_t period = 0;
  ReadPart* next_free = nullptr;
  std::array<iovec, 16> vectors{};
};

struct ReadJob {
  using Done = void (*)(ReadJob& job, IoStatus status);

  // Set before start(), constant until done. The buffers hold length_bytes, and stay alive and in place.
  Done done = nullptr;
  void* context = nullptr;  // the caller's
  DiskOffset offset;
  uint64_t length_bytes = 0;
  std::span<const iovec> buffers;

  // Kept by the reader.
  ChainReader* reader = nullptr;
  uint64_t position = 0;
  uint32_t under_way = 0;
  IoStatus status = IoStatus::kOk;
  bool is_starting = false;
  bool is_mapping = false;
  bool is_parked = false;
  bool is_own_part_used = false;
  Waiter waiter;
  ReadPart own_part;
};

class ChainReader {
 public:
  // The layers outlive the reader; `file` is any file of theirs, which lends its queue of finished requests.
  ChainReader(std::vector<ImageFormat*> layers, HostFile& file);
  ~ChainReader();
  ChainReader(const ChainReader&) = delete;
  ChainReader& operator=(const ChainReader&) = delete;

  // Takes the job, which stays alive and in place until its done is called; never from within start(). The
  // range may reach past the end of the disk, where there are zeroes.
  void start(ReadJob& job);

  // What was decompressed may be in other places now: the top layer let go of a cluster.
  void forget_decompressed();

 private:
  // Memory for what does not go straight to the reader's buffers: compressed and encrypted data.
  struct Scratch : FileRequest {
    ReadJob* job = nullptr;
    ChainReader* reader = nullptr;
    ImageFormat* layer = nullptr;
    TransferPeriods* periods = nullptr;
    uint32_t period = 0;
    bool is_busy = false;
    bool holds_cluster = false;  // `plain` is the cluster of `extent` of `layer`
    bool is_stale = false;       // it was let go of while it was read
    Extent extent;
    uint64_t job_position = 0;
    uint64_t lead_bytes = 0;  // encrypted: read before the extent to begin with a sector
    AlignedMemory stored;
    size_t stored_capacity = 0;
    AlignedMemory plain;
    size_t plain_capacity = 0;
    iovec vector{};
  };

  static void part_done(FileRequest& request, IoStatus status);
  static void deferred_done(FileRequest& request, IoStatus status);
  static void scratch_done(FileRequest& request, IoStatus status);
  static void woken(Waiter& waiter, IoStatus status);

  void advance(ReadJob& job);
  bool map_next(ReadJob& job);
  Extent lookup(const ReadJob& job, Waiter& waiter, ImageFormat*& layer) const;
  bool issue(ReadJob& job, const Extent& extent, ImageFormat& layer);
  bool read_through_scratch(ReadJob& job, const Extent& extent, ImageFormat& layer);
  bool copy_from_scratch(ReadJob& job, const Extent& extent, const ImageFormat& layer);
  Scratch* take_scratch();
  bool prepare_compressed(Scratch& scratch);
  bool prepare_encrypted(Scratch& scratch);
  IoStatus take_stored(Scratch& scratch);
  void finish_part(ReadJob& job, IoStatus status);
  void finish(ReadJob& job);

  // Constant after construction.
  std::vector<ImageFormat*> layers_;
  HostFile& file_;

  PartPool<ReadPart> parts_;
  std::vector<Scratch> scratches_;
  size_t next_scratch_ = 0;
  WaitQueue scratch_waiters_;
  uint32_t jobs_ = 0;
};

// Cuts `length` bytes from byte `skip` of the buffers into `vectors`, as many as fit there; `length` becomes
// what was cut. The buffers as they are where they are all wanted. REQUIRES: skip + length is at most their
// sum.
std::span<const iovec> cut_buffers(std::span<const iovec> buffers, uint64_t skip, uint64_t& length,
                                   std::span<iovec> vectors);

}  // namespace vmm::block
