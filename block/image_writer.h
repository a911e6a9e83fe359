// ImageWriter: what changes a disk image: writes, zeroes, discards, flushes to the top layer of a chain.
//
// Threads: the disk's loop only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "block/block_device.h"
#include "block/compressor.h"
#include "block/file_request.h"
#include "block/wait_queue.h"

namespace vmm::block {

struct WriteJob;

// One transfer of a job.
struct WritePart : FileRequest {
  WriteJob* job = nullptr;
  uint32_t period = 0;
  WritePart* next_free = nullptr;
  std::array<iovec, 16> vectors{};
};

struct WriteJob {
  using Done = void (*)(WriteJob& job, IoStatus status);

  // Set before submit(), constant until done; as in BlockRequest. The range lies within the disk.
  Done done = nullptr;
  void* context = nullptr;       // the caller's
  BlockOp op = BlockOp::kWrite;  // never kRead
  DiskOffset offset;
  uint64_t length_bytes = 0;
  std::span<const iovec> buffers;
  bool may_unmap = false;
  bool force_unit_access = false;
  bool is_compressed = false;  // as CompressedWrites has it

  // Kept by the writer.
  void* writer = nullptr;
  uint64_t position = 0;
  uint32_t under_way = 0;
  IoStatus status = IoStatus::kOk;
  bool is_starting = false;
  bool is_mapping = false;
  bool is_parked = false;
  bool is_own_part_used = false;
  bool needs_commit = false;
  Waiter waiter;
  WritePart own_part;
};

struct CompressedClusters {
  Compression compression = Compression::kDeflate;
  uint64_t cluster_bytes = 0;
};

class ImageWriter {
 public:
  virtual ~ImageWriter() = default;

  // Absent: it takes no job that is_compressed.
  virtual std::optional<CompressedClusters> compressed_clusters() const { return std::nullopt; }

  // Takes the job, which stays alive and in place until its done is called; never from within submit().
  virtual void submit(WriteJob& job) = 0;

  // Requests of the writer's own under way: it must not be destroyed meanwhile.
  virtual uint32_t background_requests() const = 0;
};

}  // namespace vmm::block
