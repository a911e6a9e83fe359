#include "block/qcow2/open_image.h"

#include <array>

#include "block/qcow2/bitmaps.h"
#include "block/qcow2/check.h"
#include "block/qcow2/snapshot_table.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

namespace vmm::block::qcow2 {
namespace {

Status write_field(SyncFile& file, uint64_t offset, uint64_t value) {
  std::array<std::byte, sizeof(uint64_t)> bytes{};
  store_be<uint64_t>(bytes.data(), value);
  return file.write(FileOffset(offset), bytes);
}

}  // namespace

Status write_header(SyncFile& file, const Header& header) {
  VMM_ASSIGN_OR_RETURN(const auto bytes, serialise_header(header, file.path()));
  return file.write(FileOffset(0), bytes);
}

Status clear_unknown_autoclear(SyncFile& file, Header& header) {
  if (header.version < 3) {
    return {};
  }
  const uint64_t autoclear =
      header.autoclear & (header.bitmaps ? kKnownAutoclear : kKnownAutoclear & ~kAutoclearBitmaps);
  if (autoclear != header.autoclear) {
    header.autoclear = autoclear;
    VMM_TRY(write_field(file, kAutoclearFieldOffset, autoclear));
    VMM_TRY(file.sync());
  }
  return {};
}

Status refuse_corrupt(const SyncFile& file, const Header& header) {
  if (header.has(kIncompatibleCorrupt)) {
    return fail("{} is marked as corrupt; repair it (vmm-img check -f qcow2 -r all), or open it read-only",
                file.path());
  }
  return {};
}

Status prepare_for_maintenance(SyncFile& file, Header& header) {
  VMM_TRY(refuse_corrupt(file, header));
  if (header.has(kIncompatibleDirty)) {
    // "make sure to scan L1/L2 tables to repair refcounts before accessing the image"
    log::info("{} was not closed properly; its refcounts are repaired", file.path());
    VMM_ASSIGN_OR_RETURN(const CheckResult result, repair(file, header, Repair::kAll));
    if (result.corruptions > 0) {
      return fail("{} was not closed properly and cannot be repaired: {}", file.path(),
                  result.messages.front());
    }
  }
  return clear_unknown_autoclear(file, header);
}

Status prepare_for_writing(SyncFile& file, Header& header) {
  VMM_TRY(prepare_for_maintenance(file, header));
  return give_up_tracking_bitmaps(file, header);
}

Status note_metadata(SyncFile& file, ImageState& state) {
  const Header& header = state.header;
  const uint64_t cluster_bytes = header.cluster_bytes();
  const auto range = [cluster_bytes](uint64_t offset, uint64_t bytes) {
    return ByteRange{.begin = offset, .end = align_up(offset + bytes, cluster_bytes)};
  };
  state.map.set_range(kRangeHeader, range(0, cluster_bytes));
  state.map.set_range(kRangeL1, range(header.l1_offset, uint64_t{header.l1_entries} * sizeof(uint64_t)));
  state.map.set_range(kRangeRefcountTable,
                      range(header.refcount_table_offset, header.refcount_table_clusters * cluster_bytes));
  if (header.bitmaps) {
    state.map.set_range(kRangeBitmapDirectory,
                        range(header.bitmaps->directory_offset, header.bitmaps->directory_bytes));
  }
  if (header.crypto_header) {
    state.map.set_range(kRangeCryptoHeader,
                        range(header.crypto_header->offset, header.crypto_header->length));
  }
  if (header.snapshot_count > 0) {
    VMM_ASSIGN_OR_RETURN(const SnapshotTable table, read_snapshot_table(file, header));
    state.map.set_range(kRangeSnapshotTable, range(header.snapshots_offset, table.bytes));
    uint32_t id = kRangeFirstSnapshotL1;
    for (const Snapshot& snapshot : table.snapshots) {
      state.map.set_range(id, range(snapshot.l1_offset, uint64_t{snapshot.l1_entries} * sizeof(uint64_t)));
      ++id;
    }
  }
  if (state.map.has_ranges_that_overlap() || state.map.has_tables_that_overlap()) {
    return fail(
        "{}: its tables lie over each other, and a write to one would change another; repair it (vmm-img "
        "check -f qcow2 -r all), or open it read-only",
        file.path());
  }
  return {};
}

}  // namespace vmm::block::qcow2
