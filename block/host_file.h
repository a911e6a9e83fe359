// HostFile: one open image file, with any alignment, cache mode and file system behind it.
//
// It stands between the formats, which know where bytes lie, and the engine, which wants aligned transfers:
// - O_DIRECT: what is not aligned goes through bounce buffers; a write of part of a block reads the block
//   first, and writes that share a block wait for each other, so that no neighbour's bytes are lost.
// - write-zeroes and discard by fallocate or the block device's ioctl, or by writing zeroes.
// - writethrough: each write is on stable storage before it is done; unsafe: flushes do nothing.
// Threads: the engine's loop only. No allocation per request: its state is kept in the FileRequest.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "block/block_device.h"
#include "block/bounce_pool.h"
#include "block/engine/engine.h"
#include "block/file_request.h"
#include "block/write_order.h"

namespace vmm::block {

enum class CacheMode : uint8_t {
  kNone,          // O_DIRECT; flushes count
  kWriteback,     // the host's page cache; flushes count
  kWritethrough,  // the host's page cache; every write is flushed
  kDirectsync,    // O_DIRECT; every write is flushed
  kUnsafe,        // the host's page cache; flushes do nothing
};

constexpr bool is_direct(CacheMode mode) {
  return mode == CacheMode::kNone || mode == CacheMode::kDirectsync;
}

// Whether a write must be on stable storage before it is done. force_unit_access: its submitter asks for
// that.
constexpr bool needs_stable_storage(CacheMode mode, bool force_unit_access) {
  switch (mode) {
    case CacheMode::kNone:
    case CacheMode::kWriteback:
      return force_unit_access;
    case CacheMode::kWritethrough:
    case CacheMode::kDirectsync:
      return true;
    case CacheMode::kUnsafe:
      return false;
  }
  return true;
}

class HostFile {
 public:
  struct Geometry {
    // What addresses of buffers must be multiples of with O_DIRECT; the rule for offsets and lengths is in
    // OpenFile. Powers of two.
    uint32_t memory_alignment_bytes = 1;
    // What the file system zeroes and gives back: multiples of these, powers of two too.
    uint32_t zero_alignment_bytes = 1;
    uint32_t discard_alignment_bytes = 1;
    // With O_DIRECT, where the file's last, partial block begins; requests that touch it go through
    // tail_file. UINT64_MAX where there is none, or where the file may grow.
    uint64_t partial_block_offset = UINT64_MAX;
  };
  struct Files {
    OpenFile main;
    OpenFile tail;     // the same file without O_DIRECT; only where there is a partial block
    std::string path;  // as the user knows it
  };
  // The first part of a range: a hole, which reads as zeroes, or not.
  struct Run {
    bool is_hole = false;
    uint64_t length = 0;
  };

  HostFile(std::shared_ptr<Engine> engine, Files files, const Geometry& geometry, CacheMode cache,
           bool may_discard);
  // REQUIRES: nothing in flight.
  ~HostFile();
  HostFile(const HostFile&) = delete;
  HostFile& operator=(const HostFile&) = delete;

  // Takes the request, which stays alive and in place until its done is called; never from within submit().
  // Reads past the end give zeroes, writes past it make the file grow.
  void submit(FileRequest& request);

  const std::string& path() const { return files_.path; }

  // For tools: blocks. What a file system does not tell is no hole; past the end of the file there is one.
  Run run_at(FileOffset offset, uint64_t length) const;
  // Space that the file takes; for a block device its size is not told: UINT64_MAX.
  uint64_t allocated_bytes() const;
  bool is_same_file(const HostFile& other) const;

  // Calls the request's done with `status` at the next turn of the loop, and does nothing else.
  void finish_later(FileRequest& request, IoStatus status);

 private:
  using Step = FileRequest::Step;

  static void operation_done(FileOperation& operation, IoStatus status);

  void finish_without_work(FileRequest& request, IoStatus status);
  void submit_flush(FileRequest& request);
  void submit_discard(FileRequest& request);
  void start_in_order(FileRequest& request);
  void start(FileRequest& request);
  void issue(FileRequest& request, Step step, FileOp op, const ByteRange& range,
             std::span<const iovec> buffers);
  void step_done(FileRequest& request, IoStatus status);

  void next_zeroes(FileRequest& request);
  void zero_range_done(FileRequest& request, IoStatus status);

  void start_bounced(FileRequest& request);
  ByteRange next_payload(const FileRequest& request) const;
  void next_chunk(FileRequest& request);
  void read_tail(FileRequest& request);
  void write_chunk(FileRequest& request);
  void issue_chunk(FileRequest& request, Step step, FileOp op, const ByteRange& range);
  static std::span<std::byte> payload_bytes(const FileRequest& request);
  void bounce_step_done(FileRequest& request, IoStatus status);
  void chunk_done(FileRequest& request);

  void work_done(FileRequest& request, IoStatus status);
  void sync_done(FileRequest& request, IoStatus status);
  void finish(FileRequest& request, IoStatus status);
  void return_bounce(FileRequest& request);

  static ByteRange widened(const ByteRange& range, uint64_t alignment);
  bool is_aligned(const FileRequest& request) const;
  bool touches_partial_block(const FileRequest& request) const;
  bool needs_stable_storage(const FileRequest& request) const;
  bool may_punch(const FileRequest& request) const;

  // Constant after construction.
  std::shared_ptr<Engine> engine_;
  Files files_;
  Geometry geometry_;
  uint64_t alignment_;  // of offsets and lengths; 1 without O_DIRECT
  CacheMode cache_;
  bool may_discard_;

  uint32_t in_flight_ = 0;
  // What the file system or block device turned out not to have.
  bool cannot_punch_ = false;
  bool cannot_zero_ = false;
  bool cannot_discard_ = false;

  // Writes are counted so that a flush with nothing to flush costs nothing.
  uint64_t writes_done_ = 1;
  uint64_t writes_flushed_ = 0;
  bool has_lost_writes_ = false;  // the page cache dropped data that it could not write

  WriteOrder write_order_;  // O_DIRECT only
  BouncePool bounces_;
  OperationQueue waiting_for_bounce_;
};

}  // namespace vmm::block
