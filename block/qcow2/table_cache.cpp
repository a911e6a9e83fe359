#include "block/qcow2/table_cache.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::block::qcow2 {
namespace {

constexpr size_t kLoads = 32;
constexpr size_t kMinTables = 8;
constexpr size_t kMaxFrozen = 512;

}  // namespace

TableCache::TableCache(HostFile& file, uint32_t slice_bytes, size_t max_tables)
    : file_(file),
      slice_bytes_(slice_bytes),
      max_tables_(std::max(max_tables, kMinTables)),
      buckets_(64),
      loads_(kLoads) {
  for (Load& load : loads_) {
    load.cache = this;
    load.done = load_done;
    load.next_free = std::exchange(free_loads_, &load);
  }
}

TableCache::~TableCache() {
  VMM_CHECK(loads_under_way_ == 0, "an image was closed while tables were loaded");
}

// --- The hash table ---

TableCache::Table** TableCache::bucket_of(uint64_t offset) {
  const uint64_t mixed = (offset / slice_bytes_) * 0x9e37'79b9'7f4a'7c15;
  return &buckets_[(mixed >> 32U) & (buckets_.size() - 1)];
}

void TableCache::insert(Table& table) {
  Table** bucket = bucket_of(table.offset);
  table.hash_next = std::exchange(*bucket, &table);
}

void TableCache::remove(Table& table) {
  Table** link = bucket_of(table.offset);
  while (*link != &table) {
    link = &(*link)->hash_next;
  }
  *link = table.hash_next;
}

void TableCache::rehash() {
  std::vector<Table*> old(buckets_.size() * 2);
  old.swap(buckets_);
  for (Table* table : old) {
    while (table != nullptr) {
      Table* next = table->hash_next;
      insert(*table);
      table = next;
    }
  }
}

TableCache::Table* TableCache::find(uint64_t slice_offset) {
  for (Table* table = *bucket_of(slice_offset); table != nullptr; table = table->hash_next) {
    if (table->offset == slice_offset) {
      table->is_used = true;
      return table->is_ready ? table : nullptr;
    }
  }
  return nullptr;
}

// --- Places ---

AlignedMemory TableCache::take_memory() {
  if (!spare_.empty()) {
    AlignedMemory memory = std::move(spare_.back());
    spare_.pop_back();
    return memory;
  }
  return make_aligned_memory(slice_bytes_);
}

TableCache::Table* TableCache::take_place() {
  if (!unused_.empty()) {
    Table* table = unused_.back();
    unused_.pop_back();
    return table;
  }
  if (tables_.size() < max_tables_) {
    AlignedMemory memory = take_memory();
    if (memory != nullptr) {
      Table& table = tables_.emplace_back();
      table.now = std::move(memory);
      if (tables_.size() > buckets_.size()) {
        rehash();
      }
      return &table;
    }
  }
  return evict();
}

// The clock algorithm: twice round at most.
TableCache::Table* TableCache::evict() {
  for (size_t i = 0; i < 2 * tables_.size(); ++i) {
    Table& table = tables_[hand_];
    hand_ = (hand_ + 1) % tables_.size();
    if (!table.is_ready || table.is_dirty || table.is_committing || table.pins > 0) {
      continue;
    }
    if (std::exchange(table.is_used, false)) {
      continue;
    }
    remove(table);
    table.is_ready = false;
    return &table;
  }
  return nullptr;
}

void TableCache::unpin(Table& table) {
  VMM_CHECK(table.pins > 0, "a table was unpinned twice");
  if (--table.pins == 0) {
    feed_starved(IoStatus::kOk);
  }
}

void TableCache::feed_starved(IoStatus status) {
  if (!starved_.empty()) {
    starved_.wake_all(status);
  }
}

// --- Loading ---

void TableCache::load(uint64_t slice_offset, Waiter& waiter) {
  for (Table* table = *bucket_of(slice_offset); table != nullptr; table = table->hash_next) {
    if (table->offset == slice_offset) {
      table->waiters.push(waiter);
      return;
    }
  }
  Table* table = free_loads_ == nullptr ? nullptr : take_place();
  if (table == nullptr) {
    starved_.push(waiter);
    return;
  }
  Load& load = *std::exchange(free_loads_, free_loads_->next_free);
  ++loads_under_way_;
  table->offset = slice_offset;
  table->is_used = true;
  table->waiters.push(waiter);
  insert(*table);
  load.table = table;
  load.op = BlockOp::kRead;
  load.offset = FileOffset(slice_offset);
  load.length_bytes = slice_bytes_;
  load.vector = {.iov_base = table->now.get(), .iov_len = slice_bytes_};
  load.buffers = std::span<const iovec>(&load.vector, 1);
  file_.submit(load);
}

void TableCache::load_done(FileRequest& request, IoStatus status) {
  auto& load = static_cast<Load&>(request);
  load.cache->finish_load(load, status);
}

void TableCache::finish_load(Load& load, IoStatus status) {
  Table& table = *load.table;
  load.next_free = std::exchange(free_loads_, &load);
  --loads_under_way_;
  WaitQueue waiters;
  waiters.append(table.waiters);
  if (status == IoStatus::kOk) {
    table.is_ready = true;
  } else {
    remove(table);
    unused_.push_back(&table);
  }
  waiters.wake_all(status);
  feed_starved(IoStatus::kOk);
}

void TableCache::forget(uint64_t offset, uint64_t bytes) {
  for (uint64_t at = offset; at < offset + bytes; at += slice_bytes_) {
    Table* table = find(at);
    if (table == nullptr || table->pins > 0 || table->is_committing) {
      continue;
    }
    if (table->is_dirty) {
      std::erase(dirty_, table);
      table->is_dirty = false;
    }
    remove(*table);
    table->is_ready = false;
    unused_.push_back(table);
  }
}

// --- Changes and commits ---

std::byte* TableCache::change(Table& table, Waiter& waiter) {
  if (table.is_committing && table.frozen == nullptr) {
    AlignedMemory copy = frozen_count_ < kMaxFrozen ? take_memory() : nullptr;
    if (copy == nullptr) {
      unthawed_.push(waiter);
      return nullptr;
    }
    std::memcpy(copy.get(), table.now.get(), slice_bytes_);
    // The commit may be writing the old memory at this moment: it keeps it.
    table.frozen = std::exchange(table.now, std::move(copy));
    ++frozen_count_;
  }
  if (!table.is_dirty) {
    table.is_dirty = true;
    dirty_.push_back(&table);
  }
  return table.now.get();
}

void TableCache::freeze() {
  VMM_CHECK(committing_.empty(), "two commits at once");
  committing_.swap(dirty_);
  for (Table* table : committing_) {
    table->is_dirty = false;
    table->is_committing = true;
  }
  // In the order of the file, for the disk's sake.
  std::ranges::sort(committing_, {}, &Table::offset);
}

void TableCache::thaw(bool is_written) {
  for (Table* table : committing_) {
    table->is_committing = false;
    if (table->frozen != nullptr) {
      spare_.push_back(std::move(table->frozen));
      --frozen_count_;
    }
    if (!is_written && !table->is_dirty) {
      table->is_dirty = true;
      dirty_.push_back(table);
    }
  }
  committing_.clear();
  unthawed_.wake_all(IoStatus::kOk);
  // What could not be written stays, and who finds no place because of it must hear of it.
  feed_starved(is_written ? IoStatus::kOk : IoStatus::kIoError);
}

}  // namespace vmm::block::qcow2
