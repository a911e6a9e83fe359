// TableCache: slices of an image's tables (L2 tables, refcount blocks) in memory, of bounded number.
//
// A slice is changed in memory and written by a commit. While a commit is under way, a slice that it is to
// write and that is changed meanwhile is there twice: as it was when the commit began, and as it is now.
// Threads: the image's loop only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "block/aligned_memory.h"
#include "block/host_file.h"
#include "block/wait_queue.h"

namespace vmm::block::qcow2 {

class TableCache {
 public:
  struct Table {
    const std::byte* bytes() const { return now.get(); }

    uint64_t offset = 0;  // in the file
    AlignedMemory now;
    AlignedMemory frozen;  // what the commit under way is to write, if `now` has changed since
    Table* hash_next = nullptr;
    uint32_t pins = 0;
    bool is_ready = false;  // has its content
    bool is_used = false;   // since the clock's hand was here
    bool is_dirty = false;
    bool is_committing = false;
    WaitQueue waiters;  // for the content
  };

  // slice_bytes: a power of two from 512; slices lie at multiples of it. max_tables is at least 8.
  TableCache(HostFile& file, uint32_t slice_bytes, size_t max_tables);
  // REQUIRES: no load under way.
  ~TableCache();
  TableCache(const TableCache&) = delete;
  TableCache& operator=(const TableCache&) = delete;

  uint32_t slice_bytes() const { return slice_bytes_; }
  uint64_t slice_of(uint64_t offset) const { return offset & ~uint64_t{slice_bytes_ - 1}; }

  // nullptr: not in memory. The table stays until the loop's next turn, or while it is pinned.
  Table* find(uint64_t slice_offset);
  // Loads the slice; the waiter is told when it is there, or why not. REQUIRES: find() gave nullptr.
  void load(uint64_t slice_offset, Waiter& waiter);

  static void pin(Table& table) { ++table.pins; }
  void unpin(Table& table);

  // For changing; the table is dirty from then on. nullptr: too many tables have changed during the commit
  // under way; the waiter will be told when it is over.
  std::byte* change(Table& table, Waiter& waiter);

  // Forgets the slices of a range of the file whose clusters have been given up.
  void forget(uint64_t offset, uint64_t bytes);

  size_t dirty_tables() const { return dirty_.size(); }
  // So many tables are dirty that others might find no place soon.
  bool wants_commit() const { return dirty_.size() > max_tables_ / 2 || !starved_.empty(); }

  // --- Commits ---

  // The dirty tables are those of the commit from now on. REQUIRES: none is under way.
  void freeze();
  std::span<Table* const> committing() const { return committing_; }
  static std::span<const std::byte> committed_bytes(const Table& table, uint32_t slice_bytes) {
    return {(table.frozen ? table.frozen : table.now).get(), slice_bytes};
  }
  // The commit is over. Where it failed, its tables are dirty as before.
  void thaw(bool is_written);

  uint32_t loads_under_way() const { return loads_under_way_; }

 private:
  struct Load : FileRequest {
    TableCache* cache = nullptr;
    Table* table = nullptr;
    Load* next_free = nullptr;
    iovec vector{};
  };

  static void load_done(FileRequest& request, IoStatus status);
  void finish_load(Load& load, IoStatus status);
  Table* take_place();
  Table* evict();
  Table** bucket_of(uint64_t offset);
  void insert(Table& table);
  void remove(Table& table);
  void rehash();
  AlignedMemory take_memory();
  void feed_starved(IoStatus status);

  // Constant after construction.
  HostFile& file_;
  uint32_t slice_bytes_;
  size_t max_tables_;

  std::deque<Table> tables_;
  std::vector<Table*> unused_;
  std::vector<Table*> buckets_;
  size_t hand_ = 0;
  std::vector<Table*> dirty_;
  std::vector<Table*> committing_;
  std::vector<AlignedMemory> spare_;
  size_t frozen_count_ = 0;
  std::vector<Load> loads_;
  Load* free_loads_ = nullptr;
  uint32_t loads_under_way_ = 0;
  WaitQueue starved_;   // found no place for their table
  WaitQueue unthawed_;  // found no memory for a second copy
};

}  // namespace vmm::block::qcow2
