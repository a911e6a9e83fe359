// Refcounts: which host clusters are in use. Allocates them; the refcount blocks and their table grow as
// needed.
//
// Standard: QEMU's docs/interop/qcow2, "Host cluster management". Counts change in memory; a commit writes
// them. Functions that may have to load a table first say kWait: the waiter will be told, then the call is
// made again. Threads: the image's loop only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "block/qcow2/state.h"
#include "block/qcow2/table_cache.h"
#include "block/wait_queue.h"

namespace vmm::block::qcow2 {

class Refcounts {
 public:
  explicit Refcounts(ImageState& state);
  Refcounts(const Refcounts&) = delete;
  Refcounts& operator=(const Refcounts&) = delete;

  struct Allocation {
    Outcome outcome = Outcome::kReady;
    IoStatus status = IoStatus::kOk;
    ClusterRun run;
  };
  // 1 to `wanted` free clusters that lie together, with a refcount of 1 from now on.
  Allocation allocate(uint64_t wanted, Waiter& waiter);

  struct Bytes {
    Outcome outcome = Outcome::kReady;
    IoStatus status = IoStatus::kOk;
    uint64_t offset = 0;
  };
  // A place for compressed data of `bytes`, at most a cluster, with a reference more to each cluster that it
  // touches: behind the last such place where there is room, and the counts can tell of it.
  Bytes allocate_bytes(uint64_t bytes, Waiter& waiter);
  // Compressed data there are given up: the cluster may be punched out, so that nothing more may come to it.
  void stop_packing(const ClusterRun& run);
  // Was allocated for compressed data, and is not needed: to be given up.
  std::optional<uint64_t> take_spare_cluster() { return std::exchange(spare_cluster_, std::nullopt); }

  struct Count {
    Outcome outcome = Outcome::kReady;
    IoStatus status = IoStatus::kOk;
    uint64_t value = 0;
    uint64_t same = 1;  // so many clusters from there on have that count, that are known without loading more
  };
  // REQUIRES: limit > 0, the most clusters to look at.
  Count count(uint64_t cluster, uint64_t limit, Waiter& waiter);

  // One reference less to each cluster of the run. REQUIRES: count() gave at least 1 for all of it.
  Outcome release(const ClusterRun& run, Waiter& waiter);

  TableCache& cache() { return cache_; }
  uint32_t requests_under_way() const { return cache_.loads_under_way() + (growth_.is_running ? 1 : 0); }

 private:
  struct Place {
    Outcome outcome = Outcome::kReady;
    IoStatus status = IoStatus::kOk;
    TableCache::Table* table = nullptr;  // nullptr: there is no refcount block
    uint64_t index = 0;                  // in the slice
    uint64_t left = 0;                   // clusters in the slice from there on
  };
  // One growth at a time: a new refcount block, or a larger table with its blocks.
  struct Growth : FileRequest {
    Refcounts* owner = nullptr;
    bool is_running = false;
    AlignedMemory memory;
    iovec vector{};
    uint64_t first_block = 0;    // index in the table
    uint64_t start_cluster = 0;  // blocks, then the new table
    uint64_t blocks = 0;
    uint64_t table_clusters = 0;  // 0: the table stays
    WaitQueue waiters;
  };

  Place find(uint64_t cluster, Waiter& waiter);
  Bytes share(uint64_t offset, uint64_t bytes, Waiter& waiter);
  uint64_t free_from(const Place& place, uint64_t limit) const;
  Allocation take(const Place& place, const ClusterRun& run, Waiter& waiter);
  Allocation grow(uint64_t block, Waiter& waiter);
  IoStatus plan_block(uint64_t block);
  IoStatus plan_table(uint64_t block);
  bool fill_growth();
  static void growth_done(FileRequest& request, IoStatus status);
  void install_growth();

  ImageState& state_;
  TableCache cache_;
  uint64_t per_block_;
  uint64_t per_slice_;
  uint32_t order_;
  uint64_t next_free_ = 0;  // no cluster below is free
  // Of compressed data: from there to the end of its cluster there is room. 0, and others at the beginning of
  // a cluster: there is none.
  uint64_t free_byte_ = 0;
  std::optional<uint64_t> spare_cluster_;  // allocated for compressed data, and not used yet
  Growth growth_;
};

}  // namespace vmm::block::qcow2
