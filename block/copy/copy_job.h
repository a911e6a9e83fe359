// CopyJob: what disks hold is written to another disk, with several requests under way.
//
// Holes are skipped, zeroes are found. Reads may overtake each other; writes begin in the order of the disk
// (unless is_out_of_order), so that a new image gets its clusters in that order, too. Compression runs on
// worker threads. Memory: `requests` chunks of 1 MiB, or a cluster, twice when compressing. Threads: that of
// the loop, which run() runs.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/aligned_memory.h"
#include "block/block_device.h"
#include "block/compressed_writes.h"
#include "block/copy/sources.h"
#include "block/copy/worker_pool.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"

namespace vmm::block {

struct CopyOptions {
  uint32_t requests = 8;  // 1 to 16
  // What is zeroes or nothing in whole units is not copied. A multiple of 512; with compression a cluster.
  uint64_t unit_bytes = 4096;
  bool is_out_of_order = false;
  bool is_compressed = false;   // REQUIRES: the target has compressed_writes()
  bool target_is_zero = false;  // what is not written reads as zeroes
  bool writes_zeroes = false;   // as data
  bool finds_zeroes = true;     // among data
  // What the source's images say nothing of is not written. REQUIRES: unit_bytes is 512, and finds_zeroes
  // false.
  bool skips_absent = false;
  // What the source's own image does not have is not written.
  bool target_has_backing = false;
  uint64_t backing_bytes = 0;     // behind, what is not written reads as zeroes
  uint64_t bytes_per_second = 0;  // of data, read and written; 0: as fast as possible
  // The target is the source, and is to show this where it has nothing of its own, with zeroes behind its
  // end: what would differ is written. REQUIRES: unit_bytes is what the target allocates as one.
  Sources* shown = nullptr;
};

class CopyJob {
 public:
  using Progress = std::function<void(uint64_t done, uint64_t all)>;

  // `target_path` is for errors. The target is as large as the sources, or larger, but for what is behind the
  // end of a source within its last sector.
  CopyJob(EventLoop& loop, Sources& sources, BlockDevice& target, std::string target_path,
          const CopyOptions& options, Progress progress);
  CopyJob(const CopyJob&) = delete;
  CopyJob& operator=(const CopyJob&) = delete;
  ~CopyJob();

  // Flushes the target at the end. When it returns nothing is in flight.
  Status run();

 private:
  enum class State : uint8_t { kReading, kCompressing, kWriting };
  enum class Unit : uint8_t { kData, kZeroes, kAsShown };
  // A range under way.
  struct Chunk {
    CopyJob* job = nullptr;
    State state = State::kReading;
    bool is_zeroes = false;
    uint64_t offset = 0;
    uint64_t length = 0;
    uint64_t written = 0;  // or being written, or skipped
    uint32_t in_flight = 0;
    AlignedMemory data;
    AlignedMemory stored;              // compressed units, each where its data are; or what is shown there
    std::vector<size_t> stored_bytes;  // of each unit; 0: as it is
    std::deque<iovec> vectors;         // of requests in flight
  };

  static void read_done(void* context, uint64_t cookie, IoStatus status);
  static void shown_done(void* context, uint64_t cookie, IoStatus status);
  static void write_done(void* context, uint64_t cookie, IoStatus status);
  static void flush_done(void* context, uint64_t cookie, IoStatus status);

  Status make_chunks();
  Result<Sources::Run> source_run(uint64_t offset) const;
  Result<Sources::Run> unlike_run(uint64_t offset) const;
  Result<Sources::Run> run_at(uint64_t offset);
  Result<Chunk*> next_chunk();
  Result<uint64_t> data_length();
  bool can_read() const;
  EventLoop::Duration time_till_next() const;
  void start_read(Chunk& chunk);
  static void read(const Sources& from, Chunk& chunk, std::byte* to, Completion::Function done);
  void part_done(Chunk& chunk, const Sources& from, uint64_t offset, IoStatus status);
  void end_of_read(Chunk& chunk);
  void compress(Chunk& chunk, Compressor& compressor) const;
  void pump();
  void write_in_order();
  bool is_written(Chunk& chunk);
  void write_some(Chunk& chunk);
  uint64_t stretch(const Chunk& chunk, Unit& kind) const;
  Unit unit_at(const Chunk& chunk, uint64_t begin) const;
  bool is_zero_unit(const Chunk& chunk, uint64_t begin) const;
  void submit_write(Chunk& chunk, BlockOp op, uint64_t begin, uint64_t length);
  void submit_stored(Chunk& chunk, uint64_t begin, uint64_t length, size_t stored);
  void fail_with(Status status);
  Status flush();

  EventLoop& loop_;
  Sources& sources_;
  BlockDevice& target_;
  std::string target_path_;
  CopyOptions options_;
  Progress progress_;
  uint64_t size_;
  uint64_t chunk_bytes_;

  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::vector<Chunk*> free_;
  std::deque<Chunk*> under_way_;  // in the order of the disk
  uint64_t position_ = 0;         // up to there there are chunks
  uint64_t done_ = 0;
  uint64_t data_bytes_ = 0;  // that were begun
  std::chrono::steady_clock::time_point begin_;
  bool is_pumping_ = false;
  bool wants_pump_ = false;
  // What is known of the source around the position.
  uint64_t run_offset_ = 0;
  Sources::Run run_;
  bool is_run_whole_ = false;  // what follows is of another kind
  Status status_;
  std::optional<IoStatus> flushed_;
  std::vector<std::unique_ptr<Compressor>> compressors_;  // one for each worker
  std::unique_ptr<WorkerPool> workers_;                   // goes first
};

}  // namespace vmm::block
