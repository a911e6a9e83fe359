#include "block/qcow2/resize.h"

#include <algorithm>
#include <array>
#include <utility>

#include "block/qcow2/bitmaps.h"
#include "block/qcow2/header_switch.h"
#include "block/qcow2/image.h"
#include "block/qcow2/metadata_change.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

constexpr uint64_t kSizeFieldOffset = 24;

uint64_t clusters_of(const Header& header, uint64_t size_bytes) {
  return align_up(size_bytes, header.cluster_bytes()) >> header.cluster_bits;
}

Result<std::vector<uint64_t>> read_l1(SyncFile& file, const Header& header) {
  return read_table(file, header.l1_offset, uint64_t{header.l1_entries} * sizeof(uint64_t));
}

// Ends the disk after this cluster; what is behind, VM state too, would be data of a longer disk.
Status cut(const Header& header, uint64_t clusters, std::vector<uint64_t>& l1, MetadataChange& change) {
  const uint32_t l2_bits = header.entry_format().l2_bits();
  const size_t whole = static_cast<size_t>(clusters >> l2_bits);
  const size_t entries = whole + (clusters % header.l2_entries() != 0 ? 1 : 0);
  if (entries < l1.size()) {
    VMM_TRY(change.refer_tree(std::span(l1).subspan(entries), -1));
    std::fill(l1.begin() + static_cast<ptrdiff_t>(entries), l1.end(), 0);
  }
  if (whole == entries || (l1[whole] & kEntryOffsetMask) == 0) {
    return {};
  }
  return change.change_l2(l1[whole], [&](uint64_t index, L2Entry& entry) -> Status {
    if ((uint64_t{whole} << l2_bits) + index < clusters) {
      return {};
    }
    VMM_TRY(change.refer_entry(entry, -1));
    entry = {};
    return {};
  });
}

// Behind the end of the file, as long as it takes.
Result<uint64_t> new_space(SyncFile& file, uint64_t bytes, Preallocation preallocation,
                           MetadataChange& change) {
  VMM_ASSIGN_OR_RETURN(const uint64_t place, change.allocate_at_end(bytes));
  VMM_TRY(file.resize(place + bytes));
  if (preallocation != Preallocation::kMetadata) {
    VMM_TRY(file.allocate(FileOffset(place), bytes, preallocation == Preallocation::kFull));
  }
  return place;
}

// A place for each cluster from the one after the end of the disk on that has none.
Status give_places(SyncFile& file, const Header& header, uint64_t size_bytes, std::vector<uint64_t>& l1,
                   Preallocation preallocation, MetadataChange& change) {
  const EntryFormat format = header.entry_format();
  const uint64_t first = clusters_of(header, header.size_bytes);
  const uint64_t end = clusters_of(header, size_bytes);
  if (first >= end) {
    return {};
  }
  const bool is_encrypted = header.crypt != CryptMethod::kNone;
  uint64_t place = 0;
  if (!format.has_data_file) {
    VMM_ASSIGN_OR_RETURN(place, new_space(file, (end - first) << format.cluster_bits, preallocation, change));
  }
  for (uint64_t table = first >> format.l2_bits(); table <= (end - 1) >> format.l2_bits(); ++table) {
    VMM_TRY(change.change_l2(l1[table], [&](uint64_t index, L2Entry& entry) -> Status {
      const uint64_t cluster = (table << format.l2_bits()) + index;
      if (cluster < first || cluster >= end) {
        return {};
      }
      const uint64_t at = format.has_data_file ? cluster : (place >> format.cluster_bits) + (cluster - first);
      entry = is_encrypted ? zeroes_at(format, at << format.cluster_bits)
                           : L2Entry{.descriptor = (at << format.cluster_bits) | kEntryCopied,
                                     .bitmap = format.has_subclusters ? subcluster_bitmap(UINT32_MAX, 0) : 0};
      return {};
    }));
  }
  return {};
}

Status make_room(SyncFile& file, Header& header, uint64_t size_bytes, Preallocation preallocation) {
  VMM_ASSIGN_OR_RETURN(MetadataChange change, MetadataChange::begin(file, header));
  VMM_ASSIGN_OR_RETURN(auto l1, read_l1(file, header));
  VMM_TRY(cut(header, clusters_of(header, header.size_bytes), l1, change));
  l1.resize(std::max(static_cast<size_t>(header.l1_entries_for(size_bytes)), l1.size()));
  if (preallocation != Preallocation::kOff) {
    VMM_TRY(give_places(file, header, size_bytes, l1, preallocation, change));
  }
  if (l1.size() == header.l1_entries && !change.has_changes()) {
    return {};
  }
  VMM_TRY(change.settle_flags(l1, 1));
  Header now = header;
  VMM_TRY(change.replace_l1(now, l1));
  VMM_TRY(change.commit(now));
  header = std::move(now);
  return {};
}

// `now` has the new size.
Status commit_with_bitmaps(SyncFile& file, Header& header, Header now, MetadataChange& change) {
  if (!header.bitmaps) {
    VMM_TRY(change.commit(now));
    header = std::move(now);
    return {};
  }
  VMM_ASSIGN_OR_RETURN(now.bitmaps, resized_bitmaps(file, header, now.size_bytes, change));
  VMM_ASSIGN_OR_RETURN(HeaderSwitch whole, HeaderSwitch::prepare(file, now));
  VMM_TRY(change.commit(now, &whole));
  VMM_ASSIGN_OR_RETURN(header, read_header(file));
  return {};
}

}  // namespace

Status check_resize(SyncFile& file, const Header& header, uint64_t size_bytes) {
  const std::string& path = file.path();
  if (size_bytes % kSectorBytes != 0) {
    return fail("{}: the new size {} is not a multiple of {}", path, size_bytes, kSectorBytes);
  }
  if (size_bytes > INT64_MAX || header.l1_entries_for(size_bytes) > kMaxL1Bytes / sizeof(uint64_t)) {
    return fail("{}: a disk of {} bytes needs larger clusters than {} bytes; convert the image", path,
                size_bytes, header.cluster_bytes());
  }
  if (header.version < 3 && header.snapshot_count > 0) {
    return fail(
        "{}: has internal snapshots, which in version 2 do not tell of what size their disk is; delete "
        "them first, or convert the image to version 3",
        path);
  }
  return check_bitmap_resize(file, header, size_bytes);
}

Status begin_growing(SyncFile& file, Header& header, uint64_t size_bytes, Preallocation preallocation) {
  if (preallocation != Preallocation::kOff && header.crypt != CryptMethod::kNone && header.version < 3) {
    return fail("{}: what is preallocated in an encrypted image must read as zeroes; that needs version 3",
                file.path());
  }
  VMM_ASSIGN_OR_RETURN(const uint64_t file_bytes, file.size());
  Status grown = make_room(file, header, size_bytes, preallocation);
  if (!grown && preallocation != Preallocation::kOff) {
    // What was set aside is nobody's. The image reads the same where this fails too.
    if (const auto now = read_header(file); now && now->l1_offset == header.l1_offset) {
      static_cast<void>(!file.resize(file_bytes));
    }
  }
  return grown;
}

std::optional<DiskRange> zeroes_needed(const Header& header, uint64_t size_bytes, uint64_t backing_bytes,
                                       Preallocation preallocation) {
  const uint64_t old_bytes = header.size_bytes;
  uint64_t end = align_up(old_bytes, header.cluster_bytes());
  if (preallocation == Preallocation::kOff) {
    end = std::max(end, align_up(std::min(backing_bytes, size_bytes), header.cluster_bytes()));
  }
  end = std::min(end, size_bytes);
  return end > old_bytes ? std::optional(DiskRange{.offset = old_bytes, .bytes = end - old_bytes})
                         : std::nullopt;
}

Status finish_growing(SyncFile& file, Header& header, uint64_t size_bytes) {
  if (header.bitmaps) {
    VMM_ASSIGN_OR_RETURN(MetadataChange change, MetadataChange::begin(file, header));
    Header now = header;
    now.size_bytes = size_bytes;
    return commit_with_bitmaps(file, header, std::move(now), change);
  }
  std::array<std::byte, sizeof(uint64_t)> bytes{};
  store_be<uint64_t>(bytes.data(), size_bytes);
  VMM_TRY(file.write(FileOffset(kSizeFieldOffset), bytes));
  VMM_TRY(file.sync());
  header.size_bytes = size_bytes;
  return {};
}

Status shrink(SyncFile& file, Header& header, uint64_t size_bytes) {
  VMM_ASSIGN_OR_RETURN(MetadataChange change, MetadataChange::begin(file, header));
  VMM_ASSIGN_OR_RETURN(auto l1, read_l1(file, header));
  VMM_TRY(cut(header, clusters_of(header, size_bytes), l1, change));
  l1.resize(std::max<size_t>(header.l1_entries_for(size_bytes), 1));
  VMM_TRY(change.settle_flags(l1, 1));
  Header now = header;
  VMM_TRY(change.replace_l1(now, l1));
  now.size_bytes = size_bytes;
  return commit_with_bitmaps(file, header, std::move(now), change);
}

}  // namespace vmm::block::qcow2
