// The end of a writer: what memory knows more than the disk is written, in the order of committer.h.
#include <algorithm>
#include <array>
#include <utility>

#include "block/qcow2/writer.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

namespace vmm::block::qcow2 {
namespace {

enum class Tables : uint8_t { kRefcounts, kMapping };

Status check_place(ImageState& state, uint64_t offset, uint64_t length, Tables kind) {
  const bool is_other = kind == Tables::kRefcounts ? state.map.overlaps_other_than_refcounts(offset, length)
                                                   : state.map.overlaps_other_than_l2(offset, length);
  if (!is_other) {
    return {};
  }
  state.mark_corrupt(fmt::format("the {} at offset {:#x} lies over other metadata",
                                 kind == Tables::kRefcounts ? "refcount block" : "L2 table", offset));
  return fail("a table lies over other metadata");
}

Status write_tables(SyncFile& file, TableCache& cache, ImageState& state, Tables kind) {
  cache.freeze();
  Status status;
  for (const TableCache::Table* table : cache.committing()) {
    status = check_place(state, table->offset, cache.slice_bytes(), kind);
    if (!status) {
      break;
    }
    status = file.write(FileOffset(table->offset), TableCache::committed_bytes(*table, cache.slice_bytes()));
    if (!status) {
      break;
    }
  }
  cache.thaw(status.has_value());
  return status;
}

Status write_entries(SyncFile& file, const std::vector<uint32_t>& indexes, const std::vector<uint64_t>& table,
                     uint64_t offset) {
  for (const uint32_t index : indexes) {
    std::array<std::byte, sizeof(uint64_t)> bytes{};
    store_be<uint64_t>(bytes.data(), table[index]);
    VMM_TRY(file.write(FileOffset(offset + uint64_t{index} * sizeof(uint64_t)), bytes));
  }
  return {};
}

// Refcounts on the disk, cluster by cluster.
Status release_runs(SyncFile& file, const ImageState& state, const std::vector<ClusterRun>& runs,
                    bool may_discard) {
  const uint32_t order = state.header.refcount_order;
  const uint64_t per_block = state.header.refcounts_per_block();
  for (const ClusterRun& run : runs) {
    for (uint64_t cluster = run.first; cluster < run.first + run.count; ++cluster) {
      const uint64_t block = cluster / per_block;
      if (state.map.overlaps(cluster << state.format.cluster_bits, state.cluster_bytes())) {
        continue;  // some entry pointed at metadata
      }
      if (block >= state.refcount_table.size() || state.refcount_table[block] == 0) {
        continue;
      }
      const uint64_t bit = (cluster % per_block) << order;
      const FileOffset at(state.refcount_table[block] + align_down(bit / 8, 8));
      std::array<std::byte, 8> bytes{};
      VMM_TRY(file.read(at, bytes));
      const uint64_t index = (bit % 64) >> order;
      const uint64_t value = load_refcount(bytes.data(), index, order);
      if (value == 0) {
        continue;
      }
      if (value == 1 && may_discard) {
        file.discard(FileOffset(cluster << state.format.cluster_bits), state.cluster_bytes());
      }
      store_refcount(bytes.data(), index, order, value - 1);
      VMM_TRY(file.write(at, bytes));
    }
  }
  return {};
}

}  // namespace

void Writer::close() {
  state_.cut_to_use();
  if (const auto spare = refcounts_.take_spare_cluster()) {
    state_.dropped.push_back({.first = *spare, .count = 1});
  }
  const bool has_changes = committer_.has_changes() || !reclaimer_.is_idle();
  const Status status = state_.is_corrupt || !has_changes ? Status() : write_all();
  if (!status) {
    log::warning("{}: not all changes since the last flush were written: {}", state_.path,
                 status.error().message());
  }
  if (const Status marked = write_corrupt_bit(); !marked) {
    log::warning("{}: its corrupt bit could not be set: {}", state_.path, marked.error().message());
  }
}

// A read may have found out, and no write came after it.
Status Writer::write_corrupt_bit() {
  if (!std::exchange(state_.wants_corrupt_bit, false) || state_.header.version < 3) {
    return {};
  }
  state_.header.incompatible |= kIncompatibleCorrupt;
  std::array<std::byte, sizeof(uint64_t)> bytes{};
  store_be<uint64_t>(bytes.data(), state_.header.incompatible);
  VMM_TRY(image_.sync_file().write(FileOffset(kIncompatibleFieldOffset), bytes));
  return image_.sync_file().sync();
}

Status Writer::write_all() {
  SyncFile& file = image_.sync_file();
  const auto sync = [this](SyncFile& which) {
    return options_.cache == CacheMode::kUnsafe ? Status() : which.sync();
  };
  VMM_TRY(write_tables(file, refcounts_.cache(), state_, Tables::kRefcounts));
  VMM_TRY(sync(file));
  if (image_.separate_data_file() != nullptr) {
    VMM_TRY(sync(image_.data_sync_file()));
  }
  VMM_TRY(write_entries(file, state_.dirty_refcount_table, state_.refcount_table,
                        state_.header.refcount_table_offset));
  if (state_.refcount_table_moved) {
    std::array<std::byte, 12> place{};
    store_be<uint64_t>(place.data(), state_.header.refcount_table_offset);
    store_be<uint32_t>(place.data() + 8, state_.header.refcount_table_clusters);
    VMM_TRY(file.write(FileOffset(kRefcountTableFieldOffset), place));
  }
  VMM_TRY(sync(file));
  VMM_TRY(write_tables(file, image_.l2_cache(), state_, Tables::kMapping));
  VMM_TRY(write_entries(file, state_.dirty_l1, state_.l1, state_.header.l1_offset));
  VMM_TRY(sync(file));
  VMM_TRY(release_runs(file, state_, reclaimer_.runs(), options_.may_discard));
  VMM_TRY(release_runs(file, state_, state_.dropped, options_.may_discard));
  return sync(file);
}

}  // namespace vmm::block::qcow2
