#include "block/qcow2/refcounts.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::block::qcow2 {
namespace {

constexpr uint32_t kSliceBytes = 4096;
constexpr uint64_t kCacheBytes = uint64_t{1} << 20U;

uint32_t slice_bytes_of(const ImageState& state) {
  return static_cast<uint32_t>(std::min<uint64_t>(kSliceBytes, state.cluster_bytes()));
}

}  // namespace

Refcounts::Refcounts(ImageState& state)
    : state_(state),
      cache_(state.file, slice_bytes_of(state), kCacheBytes / slice_bytes_of(state)),
      per_block_(state.header.refcounts_per_block()),
      per_slice_((uint64_t{slice_bytes_of(state)} * 8) >> state.header.refcount_order),
      order_(state.header.refcount_order) {
  growth_.owner = this;
  growth_.done = growth_done;
}

Refcounts::Place Refcounts::find(uint64_t cluster, Waiter& waiter) {
  const uint64_t block = cluster / per_block_;
  if (block >= state_.refcount_table.size() || state_.refcount_table[block] == 0) {
    return {.left = per_block_ - cluster % per_block_};
  }
  const uint64_t offset = state_.refcount_table[block];
  if (is_bad_refcount_table_entry(state_.format, offset)) {
    state_.mark_corrupt(fmt::format("refcount table entry {} ({:#x}) is not valid", block, offset));
    return {.outcome = Outcome::kError, .status = IoStatus::kIoError};
  }
  const uint64_t index = cluster % per_block_;
  const uint64_t slice = offset + index / per_slice_ * cache_.slice_bytes();
  TableCache::Table* table = cache_.find(slice);
  if (table == nullptr) {
    cache_.load(slice, waiter);
    return {.outcome = Outcome::kWait};
  }
  return {.table = table, .index = index % per_slice_, .left = per_slice_ - index % per_slice_};
}

Refcounts::Count Refcounts::count(uint64_t cluster, uint64_t limit, Waiter& waiter) {
  const Place place = find(cluster, waiter);
  if (place.outcome != Outcome::kReady) {
    return {.outcome = place.outcome, .status = place.status};
  }
  const uint64_t most = std::min(limit, place.left);
  if (place.table == nullptr) {
    return {.value = 0, .same = most};
  }
  Count result{.value = load_refcount(place.table->bytes(), place.index, order_)};
  while (result.same < most &&
         load_refcount(place.table->bytes(), place.index + result.same, order_) == result.value) {
    ++result.same;
  }
  return result;
}

Outcome Refcounts::release(const ClusterRun& run, Waiter& waiter) {
  const Place place = find(run.first, waiter);
  if (place.outcome != Outcome::kReady) {
    return place.outcome;
  }
  VMM_CHECK(place.table != nullptr && run.count <= place.left, "a reference without a refcount is given up");
  std::byte* bytes = cache_.change(*place.table, waiter);
  if (bytes == nullptr) {
    return Outcome::kWait;
  }
  for (uint64_t i = 0; i < run.count; ++i) {
    const uint64_t value = load_refcount(bytes, place.index + i, order_);
    if (value == 0) {
      // Two entries of the refcount table that are one block.
      state_.mark_corrupt(fmt::format("cluster at offset {:#x} was in use, and has a refcount of 0",
                                      (run.first + i) << state_.format.cluster_bits));
      continue;
    }
    store_refcount(bytes, place.index + i, order_, value - 1);
    if (value == 1) {
      next_free_ = std::min(next_free_, run.first + i);
    }
  }
  return Outcome::kReady;
}

// --- Allocation ---

uint64_t Refcounts::free_from(const Place& place, uint64_t limit) const {
  const uint64_t most = std::min(limit, place.left);
  uint64_t free = 0;
  while (free < most && load_refcount(place.table->bytes(), place.index + free, order_) == 0) {
    ++free;
  }
  return free;
}

Refcounts::Allocation Refcounts::allocate(uint64_t wanted, Waiter& waiter) {
  uint64_t cluster = next_free_;
  while (cluster < kMaxHostOffset >> state_.format.cluster_bits) {
    const Place place = find(cluster, waiter);
    if (place.outcome != Outcome::kReady) {
      return {.outcome = place.outcome, .status = place.status};
    }
    if (place.table == nullptr) {
      return grow(cluster / per_block_, waiter);
    }
    const uint64_t free = free_from(place, wanted);
    if (free > 0) {
      return take(place, {.first = cluster, .count = free}, waiter);
    }
    uint64_t used = 1;
    while (used < place.left && load_refcount(place.table->bytes(), place.index + used, order_) != 0) {
      ++used;
    }
    cluster += used;
    next_free_ = cluster;
  }
  return {.outcome = Outcome::kError, .status = IoStatus::kNoSpace};
}

Refcounts::Allocation Refcounts::take(const Place& place, const ClusterRun& run, Waiter& waiter) {
  const uint32_t bits = state_.format.cluster_bits;
  if (state_.map.overlaps(run.first << bits, run.count << bits)) {
    state_.mark_corrupt(
        fmt::format("clusters of metadata near offset {:#x} have a refcount of 0", run.first << bits));
    return {.outcome = Outcome::kError, .status = IoStatus::kIoError};
  }
  std::byte* bytes = cache_.change(*place.table, waiter);
  if (bytes == nullptr) {
    return {.outcome = Outcome::kWait};
  }
  for (uint64_t i = 0; i < run.count; ++i) {
    store_refcount(bytes, place.index + i, order_, 1);
  }
  next_free_ = run.first + run.count;
  state_.use_up_to(next_free_ << bits);
  return {.run = run};
}

// --- Compressed data ---

Refcounts::Bytes Refcounts::allocate_bytes(uint64_t bytes, Waiter& waiter) {
  const uint64_t cluster_bytes = state_.cluster_bytes();
  const uint64_t used = free_byte_ & (cluster_bytes - 1);
  if (used != 0 && bytes <= cluster_bytes - used) {
    const Bytes shared = share(free_byte_, bytes, waiter);
    if (shared.outcome != Outcome::kReady || shared.offset != 0) {
      return shared;
    }
  }
  if (!spare_cluster_) {
    const Allocation more = allocate(1, waiter);
    if (more.outcome != Outcome::kReady) {
      return {.outcome = more.outcome, .status = more.status};
    }
    spare_cluster_ = more.run.first;
  }
  if (used != 0 && *spare_cluster_ == state_.cluster_of(free_byte_) + 1) {
    const Bytes shared = share(free_byte_, bytes, waiter);
    if (shared.outcome != Outcome::kReady) {
      return shared;
    }
    if (shared.offset != 0) {
      spare_cluster_.reset();
      return shared;
    }
  }
  const uint64_t begin = *std::exchange(spare_cluster_, std::nullopt) << state_.format.cluster_bits;
  free_byte_ = begin + bytes;
  return {.offset = begin};
}

void Refcounts::stop_packing(const ClusterRun& run) {
  const uint64_t cluster = state_.cluster_of(free_byte_);
  if (cluster >= run.first && cluster < run.first + run.count) {
    free_byte_ = 0;
  }
}

// A reference more to the cluster at the offset; offset 0: it cannot have one.
Refcounts::Bytes Refcounts::share(uint64_t offset, uint64_t bytes, Waiter& waiter) {
  const Place place = find(state_.cluster_of(offset), waiter);
  if (place.outcome != Outcome::kReady) {
    return {.outcome = place.outcome, .status = place.status};
  }
  VMM_CHECK(place.table != nullptr, "a cluster in use has no refcount");
  const uint64_t value = load_refcount(place.table->bytes(), place.index, order_);
  if (value == max_refcount(order_)) {
    return {};
  }
  std::byte* table = cache_.change(*place.table, waiter);
  if (table == nullptr) {
    return {.outcome = Outcome::kWait};
  }
  store_refcount(table, place.index, order_, value + 1);
  free_byte_ = offset + bytes;
  return {.offset = offset};
}

// --- Growth ---

Refcounts::Allocation Refcounts::grow(uint64_t block, Waiter& waiter) {
  if (growth_.is_running) {
    growth_.waiters.push(waiter);
    return {.outcome = Outcome::kWait};
  }
  const IoStatus planned = block < state_.refcount_table.size() ? plan_block(block) : plan_table(block);
  if (planned != IoStatus::kOk) {
    return {.outcome = Outcome::kError, .status = planned};
  }
  if (!fill_growth()) {
    return {.outcome = Outcome::kError, .status = IoStatus::kIoError};
  }
  const uint64_t bytes = (growth_.blocks + growth_.table_clusters) << state_.format.cluster_bits;
  growth_.is_running = true;
  state_.use_up_to((growth_.start_cluster << state_.format.cluster_bits) + bytes);
  growth_.waiters.push(waiter);
  growth_.vector = {.iov_base = growth_.memory.get(), .iov_len = static_cast<size_t>(bytes)};
  growth_.op = BlockOp::kWrite;
  growth_.offset = FileOffset(growth_.start_cluster << state_.format.cluster_bits);
  growth_.length_bytes = bytes;
  growth_.buffers = std::span<const iovec>(&growth_.vector, 1);
  state_.file.submit(growth_);
  return {.outcome = Outcome::kWait};
}

// The block counts itself: it lies in the first cluster of those that it counts.
IoStatus Refcounts::plan_block(uint64_t block) {
  const uint64_t start = block * per_block_;
  const uint32_t bits = state_.format.cluster_bits;
  if (state_.map.overlaps(start << bits, uint64_t{1} << bits)) {
    state_.mark_corrupt(fmt::format("metadata at offset {:#x} have no refcount block", start << bits));
    return IoStatus::kIoError;
  }
  growth_.first_block = block;
  growth_.start_cluster = start;
  growth_.blocks = 1;
  growth_.table_clusters = 0;
  return IoStatus::kOk;
}

// A table half as large again, and the blocks that count it and themselves, where no block counted yet.
IoStatus Refcounts::plan_table(uint64_t block) {
  const uint64_t cluster_bytes = state_.cluster_bytes();
  uint64_t blocks = 1;
  uint64_t table_clusters = 0;
  while (true) {
    const uint64_t entries = std::max<uint64_t>(block + blocks, state_.refcount_table.size() * 3 / 2);
    table_clusters = align_up(entries * sizeof(uint64_t), cluster_bytes) / cluster_bytes;
    const uint64_t needed = (blocks + table_clusters + per_block_ - 1) / per_block_;
    if (needed <= blocks) {
      break;
    }
    blocks = needed;
  }
  if (table_clusters * cluster_bytes > kMaxRefcountTableBytes) {
    return IoStatus::kNoSpace;
  }
  const uint64_t start = block * per_block_;
  const uint32_t bits = state_.format.cluster_bits;
  if (state_.map.overlaps(start << bits, (blocks + table_clusters) << bits)) {
    state_.mark_corrupt(fmt::format("metadata near offset {:#x} have no refcounts", start << bits));
    return IoStatus::kIoError;
  }
  growth_.first_block = block;
  growth_.start_cluster = start;
  growth_.blocks = blocks;
  growth_.table_clusters = table_clusters;
  return IoStatus::kOk;
}

bool Refcounts::fill_growth() {
  const uint32_t bits = state_.format.cluster_bits;
  const uint64_t clusters = growth_.blocks + growth_.table_clusters;
  const auto bytes = static_cast<size_t>(clusters << bits);
  growth_.memory = make_aligned_memory(bytes);
  if (growth_.memory == nullptr) {
    return false;
  }
  std::byte* memory = growth_.memory.get();
  std::memset(memory, 0, bytes);
  for (uint64_t i = 0; i < clusters; ++i) {
    const uint64_t cluster = growth_.start_cluster + i;
    const uint64_t block = cluster / per_block_ - growth_.first_block;
    store_refcount(memory + (block << bits), cluster % per_block_, order_, 1);
  }
  if (growth_.table_clusters == 0) {
    return true;
  }
  std::byte* table = memory + (growth_.blocks << bits);
  for (size_t i = 0; i < state_.refcount_table.size(); ++i) {
    store_be<uint64_t>(table + i * sizeof(uint64_t), state_.refcount_table[i]);
  }
  for (uint64_t i = 0; i < growth_.blocks; ++i) {
    store_be<uint64_t>(table + (growth_.first_block + i) * sizeof(uint64_t), (growth_.start_cluster + i)
                                                                                 << bits);
  }
  return true;
}

void Refcounts::growth_done(FileRequest& request, IoStatus status) {
  auto& growth = static_cast<Growth&>(request);
  growth.is_running = false;
  growth.memory.reset();
  if (status == IoStatus::kOk) {
    growth.owner->install_growth();
  }
  growth.waiters.wake_all(status);
}

// The disk learns of it by the next commit.
void Refcounts::install_growth() {
  const uint32_t bits = state_.format.cluster_bits;
  cache_.forget(growth_.start_cluster << bits, growth_.blocks << bits);
  if (growth_.table_clusters > 0) {
    state_.dropped.push_back({.first = state_.header.refcount_table_offset >> bits,
                              .count = state_.header.refcount_table_clusters});
    state_.header.refcount_table_offset = (growth_.start_cluster + growth_.blocks) << bits;
    state_.header.refcount_table_clusters = static_cast<uint32_t>(growth_.table_clusters);
    state_.refcount_table_moved = true;
    state_.refcount_table.resize((growth_.table_clusters << bits) / sizeof(uint64_t));
    state_.map.set_range(kRangeRefcountTable,
                         {.begin = state_.header.refcount_table_offset,
                          .end = state_.header.refcount_table_offset + (growth_.table_clusters << bits)});
  }
  for (uint64_t i = 0; i < growth_.blocks; ++i) {
    const uint64_t offset = (growth_.start_cluster + i) << bits;
    state_.refcount_table[growth_.first_block + i] = offset;
    state_.dirty_refcount_table.push_back(static_cast<uint32_t>(growth_.first_block + i));
    state_.map.note_table(offset);
  }
}

}  // namespace vmm::block::qcow2
