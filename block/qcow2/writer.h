// Writer: changes a qcow2 image: writes, zeroes, discards, flushes.
//
// Writes to clusters that the image has for itself go there. Every other write is a Change: clusters are
// reserved, the rest of the cluster is read through the chain, all of it is written, and only then the L2
// entry is changed, in memory; a commit brings it to the disk (committer.h). Requests that meet a Change
// under way wait for it. Threads: the image's loop only. No allocation per request.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "block/chain_reader.h"
#include "block/disk_options.h"
#include "block/image_writer.h"
#include "block/part_pool.h"
#include "block/qcow2/committer.h"
#include "block/qcow2/image.h"
#include "block/qcow2/reclaimer.h"
#include "block/qcow2/refcounts.h"
#include "block/qcow2/table_maker.h"
#include "block/space_budget.h"
#include "block/wait_queue.h"

namespace vmm::block::qcow2 {

class Writer final : public ImageWriter {
 public:
  struct Options {
    CacheMode cache = CacheMode::kWriteback;
    bool may_discard = false;  // discards are done, and freed clusters are given back to the host
    bool has_backing = false;
    // The file is made longer before it is written to, and cut at the end: for O_DIRECT on files.
    bool may_extend_ahead = false;
    // Where there is one, what would go beyond it fails with kNoSpace.
    std::shared_ptr<SpaceBudget> budget;
  };

  // The image and the reader of the chain that it is the top of outlive the writer. REQUIRES: the image was
  // opened for writing.
  Writer(Image& image, ChainReader& reader, const Options& options);
  // What memory knows more than the disk is written, blocking. REQUIRES: nothing under way.
  ~Writer() override;
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  std::optional<CompressedClusters> compressed_clusters() const override;
  void submit(WriteJob& job) override;
  uint32_t background_requests() const override;

 private:
  // A run of guest clusters that is being given another content and another place.
  struct Change : FileRequest {
    Writer* writer = nullptr;
    WriteJob* job = nullptr;
    Change* next_free = nullptr;
    uint64_t cluster = 0;  // of the guest
    uint64_t clusters = 0;
    // In bytes of the disk: what the job gives, and what is written.
    uint64_t payload_begin = 0;
    uint64_t payload_end = 0;
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t host_offset = 0;     // of the first cluster, or of what is compressed
    uint64_t stored_bytes = 0;    // compressed; else 0
    uint64_t reserved_bytes = 0;  // of the budget
    bool is_new_place = false;
    bool is_zeroes = false;   // the payload is zeroes
    bool is_rewrite = false;  // the place has the sectors already
    bool is_read_in_two = false;
    TableCache::Table* table = nullptr;  // pinned
    uint32_t index = 0;
    uint32_t period = 0;
    AlignedMemory memory;  // a cluster
    ReadJob read;
    iovec read_vector{};
    std::array<iovec, 18> vectors{};
    std::vector<iovec> more_vectors;  // where those are too few for several clusters
    Waiter waiter;
    WaitQueue waiters;  // for its end
  };

  // --- Jobs (writer.cpp) ---
  static void woken(Waiter& waiter, IoStatus status);
  static void part_done(FileRequest& request, IoStatus status);
  static void deferred_done(FileRequest& request, IoStatus status);
  void advance(WriteJob& job);
  bool map_next(WriteJob& job);
  bool map_write(WriteJob& job);
  bool park(WriteJob& job, WaitQueue& queue);
  bool parked(WriteJob& job);
  bool failed(WriteJob& job, IoStatus status);
  void take_result(WriteJob& job, IoStatus status);
  void end_of_work(WriteJob& job);
  void finish(WriteJob& job);
  Change* conflict(uint64_t cluster) const;
  uint64_t in_place_bytes(const Image::L2Place& place, uint64_t guest, uint64_t length, uint64_t& host) const;
  uint64_t in_place_in_cluster(const L2Entry& entry, uint64_t guest, uint64_t length) const;
  bool write_in_place(WriteJob& job, uint64_t host, uint64_t length);
  bool needs_stable_storage(const WriteJob& job) const;

  // --- Changes (writer_change.cpp) ---
  bool start_change(WriteJob& job, const Image::L2Place& place, bool is_zeroes);
  bool own_table(WriteJob& job, uint64_t guest);
  void plan(Change& change, const WriteJob& job, const Image::L2Place& place) const;
  void plan_one(Change& change, const L2Entry& entry) const;
  uint64_t whole_clusters(const WriteJob& job, const Image::L2Place& place, uint64_t most) const;
  bool find_place(Change& change, WriteJob& job, const L2Entry& entry);
  bool find_compressed_place(Change& change, WriteJob& job);
  ClusterRun host_clusters(const Change& change) const;
  void begin(Change& change, WriteJob& job);
  void read_around(Change& change);
  void start_read(Change& change, uint64_t from, uint64_t to);
  static void read_done(ReadJob& read, IoStatus status);
  bool reads_as_zeroes(const Change& change) const;
  void write(Change& change);
  void gather(Change& change);
  bool encrypt(Change& change) const;
  bool reserve(Change& change) const;
  static void written(FileRequest& request, IoStatus status);
  static void link_woken(Waiter& waiter, IoStatus status);
  void link(Change& change);
  L2Entry linked_entry(const Change& change, const L2Entry& old, uint64_t i) const;
  void end(Change& change, IoStatus status);
  Change* take_change();

  // --- Zeroes and discards (writer_zeroes.cpp) ---
  bool map_zeroes(WriteJob& job);
  bool map_discard(WriteJob& job);
  bool map_place(WriteJob& job, uint64_t guest, Image::L2Place& place);
  bool zero_units(WriteJob& job, const Image::L2Place& place);
  bool write_zeroes(WriteJob& job, const Image::L2Place& place);
  uint64_t already_zero(const Image::L2Place& place, uint64_t guest, uint64_t length) const;
  bool change_entries(WriteJob& job, const Image::L2Place& place);
  bool gives_up_data(const WriteJob& job) const;
  bool discard_data(WriteJob& job, uint64_t guest, uint64_t length);
  static void data_discarded(FileRequest& request, IoStatus status);
  L2Entry changed_entry(const WriteJob& job, const L2Entry& old) const;
  L2Entry zeroed(const L2Entry& old, bool may_unmap) const;
  L2Entry discarded(const L2Entry& old) const;
  bool has_zero_entries() const;
  uint64_t rounded_end(const WriteJob& job) const;

  void start_extending();
  void drop_place(const L2Entry& old, const L2Entry& now);
  void after_change();
  void close();
  Status write_all();
  Status write_corrupt_bit();

  // Constant after construction.
  Image& image_;
  ImageState& state_;
  ChainReader& reader_;
  Options options_;
  bool is_raw_data_file_;

  Refcounts refcounts_;
  TableMaker maker_;
  Reclaimer reclaimer_;
  Committer committer_;

  uint32_t jobs_ = 0;
  PartPool<WritePart> parts_;
  std::vector<std::unique_ptr<Change>> changes_;
  Change* free_changes_ = nullptr;
  std::vector<Change*> active_;
  WaitQueue change_waiters_;
};

}  // namespace vmm::block::qcow2
