// Refcounts: which host clusters are in use. Allocates them; the refcount blocks and their table grow as
// needed.
//
// Standard: QEMU's docs/interop/qcow2, "Host cluster management". Counts change in memory; a commit writes
// them. Functions that may have to load a table first say kWait: the waiter will be told, then the call is
// made again. Threads: the image's loop only.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

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
  Growth growth_;
};

}  // namespace vmm::block::qcow2
