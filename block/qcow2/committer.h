// Committer: brings changed tables to the disk, in an order that leaves the image consistent wherever a crash
// comes.
//
// A commit writes what memory knew when it began. Each step ends with a flush of the file:
//   1. refcounts                     (the flush makes guest data and new tables durable, too)
//   2. the refcount table            where it changed
//   3. L2 tables, L1 entries
// After that nothing on the disk refers any more to the clusters that were given up, and the Reclaimer gets
// them. So no reference on the disk is ever ahead of the refcount or of the data that it needs; a crash can
// cause leaks. Threads: the image's loop only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "block/qcow2/reclaimer.h"
#include "block/qcow2/refcounts.h"
#include "block/qcow2/state.h"
#include "block/qcow2/table_cache.h"
#include "block/wait_queue.h"

namespace vmm::block::qcow2 {

class Committer {
 public:
  // `data_file`: where the image has its data in another file, else nullptr.
  Committer(ImageState& state, TableCache& l2_cache, Refcounts& refcounts, Reclaimer& reclaimer,
            HostFile* data_file);
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  // The waiter is told when all that is complete now is durable, or could not be made so.
  void commit(Waiter& waiter);
  // Nobody waits; later is early enough.
  void commit_soon();

  bool is_running() const { return step_ != Step::kIdle; }
  // Memory knows more than the disk.
  bool has_changes() const;

 private:
  enum class Step : uint8_t {
    kIdle,
    kCorruptBit,
    kRefcounts,
    kRefcountsFlush,
    kRefcountTable,
    kRefcountTableFlush,
    kMapping,
    kMappingFlush,
    kRefused,    // nothing is written; only the end is still to be told
    kFinishing,  // those who waited are told; no other commit may begin
  };
  struct Item {
    uint64_t offset = 0;
    std::span<const std::byte> bytes;
  };
  struct Request : FileRequest {
    Committer* owner = nullptr;
    std::array<iovec, 16> vectors{};
  };
  // Entries of the L1 or the refcount table as they were when the commit began.
  struct FrozenEntries {
    std::vector<uint32_t> indexes;
    std::vector<std::byte> bytes;
  };

  static void request_done(FileRequest& request, IoStatus status);
  void start();
  void freeze();
  static void freeze_entries(std::vector<uint32_t>& dirty, const std::vector<uint64_t>& table,
                             FrozenEntries& frozen);
  void enter(Step step);
  void add_entries(const FrozenEntries& frozen, uint64_t table_offset);
  bool add_tables();
  bool add_items(Step step);
  void write_items();
  size_t gather(Request& request);
  void flush();
  void step_over();
  void finish(IoStatus status);
  void thaw(bool is_written);

  ImageState& state_;
  TableCache& l2_cache_;
  Refcounts& refcounts_;
  Reclaimer& reclaimer_;
  HostFile* data_file_;

  Step step_ = Step::kIdle;
  IoStatus step_status_ = IoStatus::kOk;
  bool is_submitting_ = false;
  bool wants_another_ = false;
  WaitQueue now_;   // for the commit under way
  WaitQueue next_;  // for the next one

  FrozenEntries l1_;
  FrozenEntries refcount_table_;
  uint64_t l1_offset_ = 0;
  bool table_moved_ = false;
  std::array<std::byte, 12> table_place_{};  // the header's fields
  uint64_t refcount_table_offset_ = 0;
  std::array<std::byte, 8> corrupt_bits_{};
  std::vector<ClusterRun> dropped_;

  std::vector<Item> items_;
  size_t next_item_ = 0;
  std::array<Request, 16> requests_;
  std::vector<Request*> free_requests_;
};

}  // namespace vmm::block::qcow2
