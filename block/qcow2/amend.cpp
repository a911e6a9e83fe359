#include "block/qcow2/amend.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "block/qcow2/header_switch.h"
#include "block/qcow2/image.h"
#include "block/qcow2/metadata_change.h"
#include "block/qcow2/refcount_width.h"
#include "block/qcow2/snapshot_table.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

constexpr uint32_t kRefcountOrderOfVersion2 = 4;

// What the header says of the image when all is done, but for numbers of tables.
Header amended(const Header& header, const AmendOptions& options) {
  Header now = header;
  now.version = options.version.value_or(header.version);
  now.refcount_order = options.refcount_order.value_or(header.refcount_order);
  if (options.lazy_refcounts) {
    now.compatible &= ~kCompatibleLazyRefcounts;
    now.compatible |= *options.lazy_refcounts ? kCompatibleLazyRefcounts : 0;
  }
  if (options.data_file_raw) {
    now.autoclear &= ~kAutoclearRawDataFile;
    now.autoclear |= *options.data_file_raw ? kAutoclearRawDataFile : 0;
  }
  now.data_file = options.data_file.value_or(header.data_file);
  if (now.version > header.version) {
    now.feature_names = known_feature_names();
  } else if (now.version < header.version) {
    now.compatible = 0;
    now.autoclear = 0;
    now.feature_names.clear();
  }
  return now;
}

Status check_wishes(const Header& header, const Header& now, const AmendOptions& options,
                    const std::string& path) {
  if (now.version < 3 && options.lazy_refcounts.value_or(false)) {
    return fail("{}: lazy_refcounts=on needs version 3; add compat=1.1", path);
  }
  if (now.version < 3 && now.refcount_order != kRefcountOrderOfVersion2) {
    return fail("{}: version 2 has refcounts of 16 bits, not of {}; {}", path, 1U << now.refcount_order,
                header.version < 3 ? "add compat=1.1" : "add refcount_bits=16");
  }
  if (options.data_file && !header.has(kIncompatibleDataFile)) {
    return fail("{}: has no data file whose name could be changed; convert it to an image with one", path);
  }
  if (options.data_file_raw.value_or(false) && (header.autoclear & kAutoclearRawDataFile) == 0) {
    return fail("{}: data_file_raw cannot be switched on for an image that there is already; convert it",
                path);
  }
  return {};
}

// --- Version 2 ---

Status check_features(const Header& header, const std::string& path) {
  constexpr std::pair<uint64_t, const char*> kFeatures[] = {
      {kIncompatibleDataFile, "an external data file"},
      {kIncompatibleCompressionType, "clusters compressed with zstd"},
      {kIncompatibleExtendedL2, "extended L2 entries"}};
  for (const auto& [bit, what] : kFeatures) {
    if (header.has(bit)) {
      return fail("{}: has {}, which version 2 has not; convert it (vmm-img convert -o compat=0.10)", path,
                  what);
    }
  }
  if (header.bitmaps) {
    return fail("{}: has dirty bitmaps, which version 2 has not; remove them first (vmm-img bitmap --remove)",
                path);
  }
  return {};
}

// Version 2 need not say of what size a snapshot's disk is, and has 32 bits for its VM state's.
Status check_snapshots(const Header& header, const SnapshotTable& table, const std::string& path) {
  for (const Snapshot& snapshot : table.snapshots) {
    if (snapshot.disk_bytes != header.size_bytes || snapshot.vm_state_bytes > UINT32_MAX) {
      return fail("{}: version 2 has no place for the size of the snapshot '{}'; delete it first", path,
                  snapshot.name);
    }
  }
  return {};
}

// What version 2 cannot say, of all clusters that an L1 table has.
class ZeroClusters {
 public:
  ZeroClusters(SyncFile& file, const Header& header)
      : file_(file),
        header_(header),
        format_(header.entry_format()),
        l2_(static_cast<size_t>(header.cluster_bytes())) {}

  Result<bool> are_in(uint64_t l1_offset, uint64_t l1_entries) {
    VMM_ASSIGN_OR_RETURN(const auto l1, read_table(file_, l1_offset, l1_entries * sizeof(uint64_t)));
    for (const uint64_t entry : l1) {
      VMM_ASSIGN_OR_RETURN(const bool has_some, are_behind(entry));
      if (has_some) {
        return true;
      }
    }
    return false;
  }

  Result<bool> are_behind(uint64_t l1_entry) {
    const uint64_t offset = l1_entry & kEntryOffsetMask;
    if (offset == 0) {
      return false;
    }
    VMM_TRY(file_.read(FileOffset(offset), l2_));
    for (uint64_t i = 0; i < header_.l2_entries(); ++i) {
      if (is_one({.descriptor = load_be<uint64_t>(l2_.data() + i * sizeof(uint64_t))})) {
        return true;
      }
    }
    return false;
  }

  bool is_one(const L2Entry& entry) const {
    const ClusterKind kind = kind_of(format_, entry);
    return kind == ClusterKind::kZeroes || kind == ClusterKind::kZeroesAllocated;
  }

 private:
  SyncFile& file_;
  const Header& header_;
  EntryFormat format_;
  std::vector<std::byte> l2_;
};

Status check_zero_clusters(SyncFile& file, const Header& header) {
  VMM_ASSIGN_OR_RETURN(const SnapshotTable table, read_snapshot_table(file, header));
  VMM_TRY(check_snapshots(header, table, file.path()));
  ZeroClusters zeroes(file, header);
  VMM_ASSIGN_OR_RETURN(bool has_some, zeroes.are_in(header.l1_offset, header.l1_entries));
  if (has_some && header.has_backing_file() && header.crypt != CryptMethod::kNone) {
    return fail("{}: its zero clusters would have to be encrypted for version 2; convert it", file.path());
  }
  for (const Snapshot& snapshot : table.snapshots) {
    if (!has_some) {
      VMM_ASSIGN_OR_RETURN(has_some, zeroes.are_in(snapshot.l1_offset, snapshot.l1_entries));
    }
  }
  if (has_some && !table.snapshots.empty()) {
    return fail(
        "{}: has zero clusters, which version 2 has not, and snapshots that may share them; delete the "
        "snapshots first, or convert the image",
        file.path());
  }
  return {};
}

// Without a backing file, what is not allocated reads as zeroes.
Status replace_zero_cluster(SyncFile& file, const Header& header, MetadataChange& change, L2Entry& entry) {
  if (!header.has_backing_file()) {
    VMM_TRY(change.refer_entry(entry, -1));
    entry = {};
    return {};
  }
  uint64_t place = entry.host_offset();
  if (place == 0) {
    VMM_ASSIGN_OR_RETURN(place, change.allocate(header.cluster_bytes()));
  }
  entry.descriptor = place | kEntryCopied;
  return file.allocate(FileOffset(place), header.cluster_bytes(), true);
}

Status give_up_zero_clusters(SyncFile& file, const Header& header, Header& now, MetadataChange& change) {
  VMM_ASSIGN_OR_RETURN(auto l1,
                       read_table(file, header.l1_offset, uint64_t{header.l1_entries} * sizeof(uint64_t)));
  ZeroClusters zeroes(file, header);
  bool has_some = false;
  for (uint64_t& l1_entry : l1) {
    VMM_ASSIGN_OR_RETURN(const bool has_some_here, zeroes.are_behind(l1_entry));
    if (!has_some_here) {
      continue;
    }
    has_some = true;
    VMM_TRY(change.change_l2(l1_entry, [&](uint64_t, L2Entry& entry) {
      return zeroes.is_one(entry) ? replace_zero_cluster(file, header, change, entry) : Status();
    }));
  }
  return has_some ? change.replace_l1(now, l1) : Status();
}

Status downgrade(SyncFile& file, Header& header, Header now) {
  VMM_ASSIGN_OR_RETURN(MetadataChange change, MetadataChange::begin(file, header));
  VMM_TRY(give_up_zero_clusters(file, header, now, change));
  VMM_ASSIGN_OR_RETURN(HeaderSwitch whole, HeaderSwitch::prepare(file, now));
  VMM_TRY(change.commit(now, &whole));
  VMM_ASSIGN_OR_RETURN(header, read_header(file));
  return {};
}

}  // namespace

Status amend(SyncFile& file, Header& header, const AmendOptions& options) {
  Header now = amended(header, options);
  VMM_TRY(check_wishes(header, now, options, file.path()));
  const bool is_downgrade = now.version < header.version;
  if (is_downgrade) {
    VMM_TRY(check_features(header, file.path()));
    VMM_TRY(check_zero_clusters(file, header));
  }
  if (now.refcount_order != header.refcount_order) {
    // Not in version 2 before they have 16 bits.
    Header with_width = is_downgrade ? header : now;
    with_width.refcount_order = now.refcount_order;
    VMM_TRY(change_refcount_width(file, header, std::move(with_width)));
    now = amended(header, options);
  }
  if (is_downgrade) {
    return downgrade(file, header, std::move(now));
  }
  VMM_TRY(switch_header(file, now));
  header = std::move(now);
  return {};
}

}  // namespace vmm::block::qcow2
