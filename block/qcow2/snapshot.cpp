#include "block/qcow2/snapshot.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "block/qcow2/image.h"
#include "block/qcow2/metadata_change.h"

namespace vmm::block::qcow2 {
namespace {

constexpr size_t kNotFound = SIZE_MAX;

uint64_t l1_bytes(uint64_t entries) { return entries * sizeof(uint64_t); }

// Everything that a change begins with.
struct Start {
  SnapshotTable table;
  std::vector<uint64_t> active;
  MetadataChange change;
};

Result<Start> start(SyncFile& file, const Header& header) {
  if (header.has(kIncompatibleDataFile)) {
    return fail("{}: has its data in another file, and so cannot have internal snapshots", file.path());
  }
  VMM_ASSIGN_OR_RETURN(MetadataChange change, MetadataChange::begin(file, header));
  VMM_ASSIGN_OR_RETURN(SnapshotTable table, read_snapshot_table(file, header));
  VMM_ASSIGN_OR_RETURN(auto active, read_table(file, header.l1_offset, l1_bytes(header.l1_entries)));
  return Start{.table = std::move(table), .active = std::move(active), .change = std::move(change)};
}

size_t find(const std::vector<Snapshot>& snapshots, std::string Snapshot::* field, const std::string& value) {
  const auto found = std::ranges::find(snapshots, value, field);
  return found == snapshots.end() ? kNotFound : static_cast<size_t>(found - snapshots.begin());
}

Result<size_t> find_either(const std::vector<Snapshot>& snapshots, std::string Snapshot::* first,
                           std::string Snapshot::* second, const std::string& which, const SyncFile& file) {
  const size_t found = find(snapshots, first, which);
  const size_t result = found != kNotFound ? found : find(snapshots, second, which);
  if (result == kNotFound) {
    return fail("{}: has no snapshot with the name or ID '{}' (vmm-img snapshot -l lists them)", file.path(),
                which);
  }
  return result;
}

std::string next_id(const std::vector<Snapshot>& snapshots) {
  uint64_t highest = 0;
  for (const Snapshot& snapshot : snapshots) {
    uint64_t id = 0;
    const char* end = snapshot.id.data() + snapshot.id.size();
    if (std::from_chars(snapshot.id.data(), end, id).ec == std::errc() && id != UINT64_MAX) {
      highest = std::max(highest, id);
    }
  }
  return std::to_string(highest + 1);
}

// Of the snapshot that the disk is to be, or be read as.
Result<uint64_t> l1_entries_needed(const SyncFile& file, const Header& header, const Snapshot& snapshot) {
  const uint64_t needed = header.l1_entries_for(snapshot.disk_bytes);
  if (needed > kMaxL1Bytes / sizeof(uint64_t)) {
    return fail("{}: the snapshot '{}' is of a disk of {} bytes, more than clusters of {} bytes can hold",
                file.path(), snapshot.name, snapshot.disk_bytes, header.cluster_bytes());
  }
  return needed;
}

Result<size_t> find_choice(const std::vector<Snapshot>& snapshots, const SnapshotChoice& which,
                           const SyncFile& file) {
  if (!which.either.empty()) {
    return find_either(snapshots, &Snapshot::id, &Snapshot::name, which.either, file);
  }
  const auto found = std::ranges::find_if(snapshots, [&which](const Snapshot& snapshot) {
    return (!which.id || snapshot.id == *which.id) && (!which.name || snapshot.name == *which.name);
  });
  if (found == snapshots.end()) {
    return fail("{}: has no snapshot with {}{}{} (vmm-img snapshot -l lists them)", file.path(),
                which.id ? "the ID '" + *which.id + "'" : "", which.id && which.name ? " and " : "",
                which.name ? "the name '" + *which.name + "'" : "");
  }
  return static_cast<size_t>(found - snapshots.begin());
}

Result<std::vector<uint64_t>> snapshot_l1(SyncFile& file, const Snapshot& snapshot) {
  return read_table(file, snapshot.l1_offset, l1_bytes(snapshot.l1_entries));
}

Status replace_snapshots(const Header& before, Header& now, const SnapshotTable& old,
                         const std::vector<Snapshot>& snapshots, MetadataChange& change,
                         const SyncFile& file) {
  VMM_TRY(change.refer(before.snapshots_offset, old.bytes, -1));
  now.snapshot_count = static_cast<uint32_t>(snapshots.size());
  now.snapshots_offset = 0;
  if (snapshots.empty()) {
    return {};
  }
  const std::vector<std::byte> bytes = serialise_snapshot_table(snapshots);
  if (snapshots.size() > kMaxSnapshots || bytes.size() > kMaxSnapshotTableBytes) {
    return fail("{}: has {} snapshots, and no more than {} in {} MiB are possible; delete some", file.path(),
                old.snapshots.size(), kMaxSnapshots, kMaxSnapshotTableBytes >> 20U);
  }
  VMM_ASSIGN_OR_RETURN(now.snapshots_offset, change.write_new(bytes));
  return {};
}

}  // namespace

Status create_snapshot(SyncFile& file, Header& header, const NewSnapshot& wanted) {
  if (wanted.name.empty() || wanted.name.size() > kMaxSnapshotNameBytes) {
    return fail("{}: the name of a snapshot has 1 to {} bytes, not {}", file.path(), kMaxSnapshotNameBytes,
                wanted.name.size());
  }
  VMM_ASSIGN_OR_RETURN(Start at, start(file, header));
  Snapshot snapshot{.l1_entries = header.l1_entries,
                    .id = next_id(at.table.snapshots),
                    .name = wanted.name,
                    .date_seconds = wanted.date_seconds,
                    .date_nanoseconds = wanted.date_nanoseconds,
                    .disk_bytes = header.size_bytes};
  snapshot.more_extra.assign(sizeof(uint64_t), std::byte{0xff});  // "icount": not known
  VMM_TRY(at.change.refer_tree(at.active, 1));
  VMM_TRY(at.change.settle_flags(at.active, 2));
  VMM_ASSIGN_OR_RETURN(snapshot.l1_offset, at.change.write_new_l1(at.active));
  Header now = header;
  VMM_TRY(at.change.replace_l1(now, at.active));
  std::vector<Snapshot> snapshots = at.table.snapshots;
  snapshots.push_back(std::move(snapshot));
  VMM_TRY(replace_snapshots(header, now, at.table, snapshots, at.change, file));
  VMM_TRY(at.change.commit(now));
  header = std::move(now);
  return {};
}

Status apply_snapshot(SyncFile& file, Header& header, const std::string& which) {
  if (header.bitmaps) {
    return fail(
        "{}: has dirty bitmaps, which would be wrong with '{}' applied; remove them first (vmm-img "
        "bitmap --remove)",
        file.path(), which);
  }
  VMM_ASSIGN_OR_RETURN(Start at, start(file, header));
  VMM_ASSIGN_OR_RETURN(const size_t index,
                       find_either(at.table.snapshots, &Snapshot::id, &Snapshot::name, which, file));
  const Snapshot& snapshot = at.table.snapshots[index];
  VMM_ASSIGN_OR_RETURN(const uint64_t needed, l1_entries_needed(file, header, snapshot));
  VMM_ASSIGN_OR_RETURN(auto l1, snapshot_l1(file, snapshot));
  VMM_TRY(at.change.refer_tree(at.active, -1));
  VMM_TRY(at.change.refer_tree(l1, 1));
  l1.resize(std::max<size_t>({l1.size(), static_cast<size_t>(needed), 1}));
  VMM_TRY(at.change.settle_flags(l1, 1));
  Header now = header;
  VMM_TRY(at.change.replace_l1(now, l1));
  now.size_bytes = snapshot.disk_bytes;
  VMM_TRY(at.change.commit(now));
  header = std::move(now);
  return {};
}

Status delete_snapshot(SyncFile& file, Header& header, const std::string& which) {
  VMM_ASSIGN_OR_RETURN(Start at, start(file, header));
  VMM_ASSIGN_OR_RETURN(const size_t index,
                       find_either(at.table.snapshots, &Snapshot::name, &Snapshot::id, which, file));
  std::vector<Snapshot> snapshots = at.table.snapshots;
  const Snapshot gone = std::move(snapshots[index]);
  snapshots.erase(snapshots.begin() + static_cast<ptrdiff_t>(index));
  VMM_ASSIGN_OR_RETURN(const auto l1, snapshot_l1(file, gone));
  VMM_TRY(at.change.refer_tree(l1, -1));
  VMM_TRY(at.change.refer(gone.l1_offset, l1_bytes(gone.l1_entries), -1));
  VMM_TRY(at.change.settle_flags(at.active, 1));
  Header now = header;
  VMM_TRY(at.change.replace_l1(now, at.active));
  VMM_TRY(replace_snapshots(header, now, at.table, snapshots, at.change, file));
  VMM_TRY(at.change.commit(now));
  header = std::move(now);
  return {};
}

Status show_snapshot(SyncFile& file, Header& header, const SnapshotChoice& which) {
  VMM_ASSIGN_OR_RETURN(const SnapshotTable table, read_snapshot_table(file, header));
  VMM_ASSIGN_OR_RETURN(const size_t index, find_choice(table.snapshots, which, file));
  const Snapshot& snapshot = table.snapshots[index];
  VMM_TRY(l1_entries_needed(file, header, snapshot));
  header.l1_offset = snapshot.l1_offset;
  header.l1_entries = snapshot.l1_entries;
  if (!which.keeps_size) {
    header.size_bytes = snapshot.disk_bytes;
  }
  return {};
}

}  // namespace vmm::block::qcow2
