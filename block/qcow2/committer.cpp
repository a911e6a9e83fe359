#include "block/qcow2/committer.h"

#include <algorithm>
#include <utility>

#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {

Committer::Committer(ImageState& state, TableCache& l2_cache, Refcounts& refcounts, Reclaimer& reclaimer,
                     HostFile* data_file)
    : state_(state),
      l2_cache_(l2_cache),
      refcounts_(refcounts),
      reclaimer_(reclaimer),
      data_file_(data_file) {
  free_requests_.reserve(requests_.size());
  for (Request& request : requests_) {
    request.owner = this;
    request.done = request_done;
    free_requests_.push_back(&request);
  }
}

bool Committer::has_changes() const {
  return is_running() || l2_cache_.dirty_tables() > 0 || refcounts_.cache().dirty_tables() > 0 ||
         !state_.dirty_l1.empty() || !state_.dirty_refcount_table.empty() || state_.refcount_table_moved ||
         !state_.dropped.empty();
}

void Committer::commit(Waiter& waiter) {
  next_.push(waiter);
  if (!is_running()) {
    start();
  }
}

void Committer::commit_soon() {
  if (is_running()) {
    wants_another_ = true;
  } else if (has_changes() || state_.wants_corrupt_bit) {
    start();
  }
}

void Committer::start() {
  wants_another_ = false;
  now_.append(next_);
  step_status_ = IoStatus::kOk;
  if (state_.is_corrupt) {
    enter(Step::kCorruptBit);
    return;
  }
  freeze();
  enter(Step::kRefcounts);
}

void Committer::freeze() {
  l2_cache_.freeze();
  refcounts_.cache().freeze();
  l1_offset_ = state_.header.l1_offset;
  freeze_entries(state_.dirty_l1, state_.l1, l1_);
  refcount_table_offset_ = state_.header.refcount_table_offset;
  freeze_entries(state_.dirty_refcount_table, state_.refcount_table, refcount_table_);
  table_moved_ = std::exchange(state_.refcount_table_moved, false);
  store_be<uint64_t>(table_place_.data(), state_.header.refcount_table_offset);
  store_be<uint32_t>(table_place_.data() + 8, state_.header.refcount_table_clusters);
  // Clusters given up wait for transfers that began before: those of two periods at most can be told apart.
  if (!state_.dropped.empty() && reclaimer_.is_idle() && state_.transfers.is_previous_over()) {
    dropped_.swap(state_.dropped);
    state_.transfers.start_next();
  }
}

void Committer::freeze_entries(std::vector<uint32_t>& dirty, const std::vector<uint64_t>& table,
                               FrozenEntries& frozen) {
  frozen.indexes.swap(dirty);
  dirty.clear();
  std::ranges::sort(frozen.indexes);
  const auto rest = std::ranges::unique(frozen.indexes);
  frozen.indexes.erase(rest.begin(), rest.end());
  frozen.bytes.resize(frozen.indexes.size() * sizeof(uint64_t));
  for (size_t i = 0; i < frozen.indexes.size(); ++i) {
    store_be<uint64_t>(frozen.bytes.data() + i * sizeof(uint64_t), table[frozen.indexes[i]]);
  }
}

// --- Steps ---

void Committer::enter(Step step) {
  step_ = step;
  switch (step) {
    case Step::kIdle:
      return;
    case Step::kRefcountsFlush:
    case Step::kRefcountTableFlush:
    case Step::kMappingFlush:
    case Step::kRefused:
      flush();
      return;
    case Step::kFinishing:
      return;
    case Step::kCorruptBit:
    case Step::kRefcounts:
    case Step::kRefcountTable:
    case Step::kMapping:
      items_.clear();
      next_item_ = 0;
      if (!add_items(step)) {
        enter(Step::kRefused);
        return;
      }
      write_items();
      return;
  }
}

bool Committer::add_items(Step step) {
  switch (step) {
    case Step::kCorruptBit:
      if (std::exchange(state_.wants_corrupt_bit, false) && state_.header.version >= 3) {
        state_.header.incompatible |= kIncompatibleCorrupt;
        store_be<uint64_t>(corrupt_bits_.data(), state_.header.incompatible);
        items_.push_back({.offset = kIncompatibleFieldOffset, .bytes = corrupt_bits_});
      }
      return true;
    case Step::kRefcounts:
      return add_tables();
    case Step::kRefcountTable:
      add_entries(refcount_table_, refcount_table_offset_);
      if (table_moved_) {
        items_.push_back({.offset = kRefcountTableFieldOffset, .bytes = table_place_});
      }
      return true;
    case Step::kMapping:
      if (!add_tables()) {
        return false;
      }
      add_entries(l1_, l1_offset_);
      return true;
    default:
      return true;
  }
}

// Runs of neighbours in one piece.
void Committer::add_entries(const FrozenEntries& frozen, uint64_t table_offset) {
  for (size_t begin = 0; begin < frozen.indexes.size();) {
    size_t end = begin + 1;
    while (end < frozen.indexes.size() && frozen.indexes[end] == frozen.indexes[end - 1] + 1) {
      ++end;
    }
    items_.push_back(
        {.offset = table_offset + uint64_t{frozen.indexes[begin]} * sizeof(uint64_t),
         .bytes =
             std::span(frozen.bytes).subspan(begin * sizeof(uint64_t), (end - begin) * sizeof(uint64_t))});
    begin = end;
  }
}

// False: a table lies where something else is.
bool Committer::add_tables() {
  const bool are_refcounts = step_ == Step::kRefcounts;
  TableCache& cache = are_refcounts ? refcounts_.cache() : l2_cache_;
  for (const TableCache::Table* table : cache.committing()) {
    const uint64_t length = cache.slice_bytes();
    if (are_refcounts ? state_.map.overlaps_other_than_refcounts(table->offset, length)
                      : state_.map.overlaps_other_than_l2(table->offset, length)) {
      state_.mark_corrupt(fmt::format("the {} at offset {:#x} lies over other metadata",
                                      are_refcounts ? "refcount block" : "L2 table", table->offset));
      return false;
    }
    items_.push_back(
        {.offset = table->offset, .bytes = TableCache::committed_bytes(*table, cache.slice_bytes())});
  }
  return true;
}

void Committer::write_items() {
  is_submitting_ = true;
  while (next_item_ < items_.size() && !free_requests_.empty() && step_status_ == IoStatus::kOk) {
    Request& request = *free_requests_.back();
    free_requests_.pop_back();
    const size_t count = gather(request);
    request.op = BlockOp::kWrite;
    request.buffers = std::span<const iovec>(request.vectors).first(count);
    state_.file.submit(request);
  }
  is_submitting_ = false;
  if (free_requests_.size() == requests_.size()) {
    step_over();
  }
}

// Items that lie together in the file go together.
size_t Committer::gather(Request& request) {
  request.offset = FileOffset(items_[next_item_].offset);
  request.length_bytes = 0;
  size_t count = 0;
  while (next_item_ < items_.size() && count < request.vectors.size() &&
         items_[next_item_].offset == request.offset.bytes() + request.length_bytes) {
    const std::span<const std::byte> bytes = items_[next_item_].bytes;
    request.vectors[count] = {.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
    request.length_bytes += bytes.size();
    ++count;
    ++next_item_;
  }
  return count;
}

void Committer::flush() {
  Request& request = *free_requests_.back();
  free_requests_.pop_back();
  request.op = BlockOp::kFlush;
  request.length_bytes = 0;
  request.buffers = {};
  state_.file.submit(request);
  // Guest data in another file need only be durable before the mapping that speaks of them.
  if (data_file_ != nullptr && step_ == Step::kRefcountsFlush) {
    Request& second = *free_requests_.back();
    free_requests_.pop_back();
    second.op = BlockOp::kFlush;
    second.length_bytes = 0;
    second.buffers = {};
    data_file_->submit(second);
  }
}

void Committer::request_done(FileRequest& request, IoStatus status) {
  auto& own = static_cast<Request&>(request);
  Committer& self = *own.owner;
  self.free_requests_.push_back(&own);
  if (status != IoStatus::kOk && self.step_status_ == IoStatus::kOk) {
    self.step_status_ = status;
  }
  if (request.op == BlockOp::kFlush) {
    if (self.free_requests_.size() == self.requests_.size()) {
      self.step_over();
    }
  } else if (!self.is_submitting_) {
    self.write_items();
  }
}

void Committer::step_over() {
  if (step_status_ != IoStatus::kOk) {
    finish(step_status_);
    return;
  }
  switch (step_) {
    case Step::kIdle:
    case Step::kFinishing:
      return;
    case Step::kCorruptBit:
      enter(Step::kRefused);
      return;
    case Step::kRefused:
      finish(IoStatus::kIoError);
      return;
    case Step::kRefcounts:
      enter(Step::kRefcountsFlush);
      return;
    case Step::kRefcountsFlush:
      enter(Step::kRefcountTable);
      return;
    case Step::kRefcountTable:
      enter(items_.empty() ? Step::kMapping : Step::kRefcountTableFlush);
      return;
    case Step::kRefcountTableFlush:
      enter(Step::kMapping);
      return;
    case Step::kMapping:
      if (!items_.empty()) {
        enter(Step::kMappingFlush);
        return;
      }
      break;
    case Step::kMappingFlush:
      break;
  }
  finish(IoStatus::kOk);
}

void Committer::thaw(bool is_written) {
  l2_cache_.thaw(is_written);
  refcounts_.cache().thaw(is_written);
  if (!is_written) {
    state_.dirty_l1.insert(state_.dirty_l1.end(), l1_.indexes.begin(), l1_.indexes.end());
    state_.dirty_refcount_table.insert(state_.dirty_refcount_table.end(), refcount_table_.indexes.begin(),
                                       refcount_table_.indexes.end());
    state_.refcount_table_moved = state_.refcount_table_moved || table_moved_;
    state_.dropped.insert(state_.dropped.end(), dropped_.begin(), dropped_.end());
    dropped_.clear();
  }
  l1_.indexes.clear();
  refcount_table_.indexes.clear();
}

void Committer::finish(IoStatus status) {
  step_ = Step::kFinishing;
  WaitQueue told;
  told.append(now_);
  if (status == IoStatus::kOk && !dropped_.empty()) {
    reclaimer_.take(dropped_);
  }
  thaw(status == IoStatus::kOk);
  told.wake_all(status);
  step_ = Step::kIdle;
  if (!next_.empty() || wants_another_) {
    start();
  }
}

}  // namespace vmm::block::qcow2
