#include "block/qcow2/reference_walk.h"

#include <algorithm>
#include <array>
#include <utility>

#include "block/qcow2/bitmaps.h"
#include "block/qcow2/image.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

// Snapshots' L1 tables together, each of which has a place of its own in the file: more than that is no image
// but an attack.
constexpr uint64_t kL1BytesBeyondFile = uint64_t{64} << 20U;
constexpr uint64_t kL1TimesFile = 2;

}  // namespace

Result<ReferenceWalk> ReferenceWalk::prepare(SyncFile& file, const Header& header,
                                             ReferenceVisitor& visitor) {
  ReferenceWalk walk(file, header);
  VMM_TRY(walk.read_top(visitor));
  return walk;
}

Status ReferenceWalk::read_top(ReferenceVisitor& visitor) {
  VMM_ASSIGN_OR_RETURN(file_bytes_, file_->size());
  l1_bytes_left_ = file_bytes_ * kL1TimesFile + kL1BytesBeyondFile;
  const uint64_t cluster_bytes = header_->cluster_bytes();
  cluster_.resize(static_cast<size_t>(cluster_bytes));
  const uint64_t table_bytes = header_->refcount_table_clusters * cluster_bytes;
  if (header_->l1_offset + uint64_t{header_->l1_entries} * 8 > align_up(file_bytes_, 512) ||
      header_->refcount_table_offset > file_bytes_) {
    return fail("{}: its L1 or refcount table lies past the end of the file of {} bytes", file_->path(),
                file_bytes_);
  }
  ranges_.push_back({.offset = 0, .bytes = cluster_bytes, .what = "header"});
  VMM_ASSIGN_OR_RETURN(l1_, read_table(*file_, header_->l1_offset, uint64_t{header_->l1_entries} * 8));
  ranges_.push_back({.offset = header_->l1_offset, .bytes = l1_.size() * 8, .what = "L1 table"});
  VMM_TRY(add_l1(l1_, true, visitor));
  VMM_ASSIGN_OR_RETURN(refcount_table_, read_table(*file_, header_->refcount_table_offset, table_bytes));
  if (header_->crypto_header) {
    ranges_.push_back({.offset = header_->crypto_header->offset,
                       .bytes = header_->crypto_header->length,
                       .what = "encryption header"});
  }
  VMM_TRY(add_snapshots(visitor));
  VMM_TRY(add_bitmaps(visitor));
  merge_tables();
  return {};
}

Status ReferenceWalk::add_l1(const std::vector<uint64_t>& l1, bool is_active, ReferenceVisitor& visitor) {
  const EntryFormat format = header_->entry_format();
  for (size_t i = 0; i < l1.size(); ++i) {
    // Inside a cluster it is nothing's place, but that cluster is perhaps what was meant.
    const uint64_t offset = align_down(l1[i] & kEntryOffsetMask, header_->cluster_bytes());
    const bool is_behind = offset >= align_up(file_bytes_, header_->cluster_bytes());
    if (is_bad_l1_entry(format, l1[i]) || is_behind || (offset == 0 && l1[i] != 0)) {
      visitor.damage(fmt::format("L1 entry {} ({:#x}) is not valid", i, l1[i]));
    }
    if (offset == 0 || is_behind) {
      continue;
    }
    const uint32_t active = is_active ? 1 : 0;
    if (!tables_.empty() && tables_.back().offset == offset) {
      ++tables_.back().times;
      tables_.back().active_times += active;
    } else {
      tables_.push_back({.offset = offset, .times = 1, .active_times = active});
    }
  }
  return {};
}

// The same table several times becomes one with a number.
void ReferenceWalk::merge_tables() {
  std::ranges::sort(tables_, {}, &L2Reference::offset);
  size_t kept = 0;
  for (size_t i = 1; i < tables_.size(); ++i) {
    if (tables_[kept].offset == tables_[i].offset) {
      tables_[kept].times += tables_[i].times;
      tables_[kept].active_times += tables_[i].active_times;
    } else {
      tables_[++kept] = tables_[i];
    }
  }
  tables_.resize(tables_.empty() ? 0 : kept + 1);
}

Status ReferenceWalk::add_snapshots(ReferenceVisitor& visitor) {
  if (header_->snapshot_count == 0) {
    return {};
  }
  VMM_ASSIGN_OR_RETURN(const SnapshotTable table, read_snapshot_table(*file_, *header_));
  ranges_.push_back({.offset = header_->snapshots_offset, .bytes = table.bytes, .what = "snapshot table"});
  for (const Snapshot& snapshot : table.snapshots) {
    const uint64_t bytes = uint64_t{snapshot.l1_entries} * 8;
    if (snapshot.l1_offset + bytes > align_up(file_bytes_, 512) || bytes > l1_bytes_left_) {
      visitor.damage(fmt::format("the L1 table of snapshot '{}' is not valid", snapshot.name));
      continue;
    }
    l1_bytes_left_ -= bytes;
    ranges_.push_back({.offset = snapshot.l1_offset, .bytes = bytes, .what = "snapshot's L1 table"});
    VMM_ASSIGN_OR_RETURN(const auto l1, read_table(*file_, snapshot.l1_offset, bytes));
    VMM_TRY(add_l1(l1, false, visitor));
    merge_tables();
  }
  return {};
}

Status ReferenceWalk::add_bitmaps(ReferenceVisitor& visitor) {
  if (!header_->bitmaps) {
    return {};
  }
  const BitmapsExtension& bitmaps = *header_->bitmaps;
  if (bitmaps.directory_offset > file_bytes_ ||
      bitmaps.directory_bytes > file_bytes_ - bitmaps.directory_offset) {
    visitor.damage("the bitmap directory reaches past the end of the file");
    return {};
  }
  ranges_.push_back(
      {.offset = bitmaps.directory_offset, .bytes = bitmaps.directory_bytes, .what = "bitmap directory"});
  return visit_bitmaps(*file_, *header_, [&](const Bitmap& bitmap) {
    return add_bitmap_table(bitmap.table_offset, bitmap.table_entries, visitor);
  });
}

Status ReferenceWalk::add_bitmap_table(uint64_t offset, uint32_t entries, ReferenceVisitor& visitor) {
  const uint64_t bytes = uint64_t{entries} * 8;
  if (offset % header_->cluster_bytes() != 0 || offset > file_bytes_ || bytes > file_bytes_ ||
      bytes > l1_bytes_left_) {
    visitor.damage(fmt::format("the bitmap table at offset {:#x} is not valid", offset));
    return {};
  }
  l1_bytes_left_ -= bytes;
  ranges_.push_back({.offset = offset, .bytes = bytes, .what = "bitmap table"});
  VMM_ASSIGN_OR_RETURN(const auto table, read_table(*file_, offset, bytes));
  for (const uint64_t entry : table) {
    if ((entry & kEntryOffsetMask) != 0) {
      bitmap_data_.push_back(
          {.offset = entry & kEntryOffsetMask, .bytes = header_->cluster_bytes(), .what = "bitmap"});
    }
  }
  return {};
}

std::vector<ReferenceWalk::Range> ReferenceWalk::lone_ranges(bool with_refcount_structures) const {
  std::vector<Range> ranges = ranges_;
  const uint64_t cluster_bytes = header_->cluster_bytes();
  for (const L2Reference& table : tables_) {
    for (uint32_t i = 0; i < std::min(table.active_times, uint32_t{2}); ++i) {
      ranges.push_back({.offset = table.offset, .bytes = cluster_bytes, .what = "L2 table"});
    }
  }
  if (with_refcount_structures) {
    ranges.push_back({.offset = header_->refcount_table_offset,
                      .bytes = header_->refcount_table_clusters * cluster_bytes,
                      .what = "refcount table"});
    for (const uint64_t entry : refcount_table_) {
      if (entry != 0 && !is_bad_refcount_table_entry(header_->entry_format(), entry)) {
        ranges.push_back({.offset = entry, .bytes = cluster_bytes, .what = "refcount block"});
      }
    }
  }
  return ranges;
}

// --- The walk ---

Status ReferenceWalk::run(ReferenceVisitor& visitor, const Options& options) {
  for (const auto* ranges : {&ranges_, &bitmap_data_}) {
    for (const Range& range : *ranges) {
      visitor.refer(range.offset, range.bytes, 1, range.what);
    }
  }
  if (options.with_refcount_structures) {
    const uint64_t cluster_bytes = header_->cluster_bytes();
    visitor.refer(header_->refcount_table_offset, header_->refcount_table_clusters * cluster_bytes, 1,
                  "refcount table");
    for (const uint64_t entry : refcount_table_) {
      if (entry != 0 && !is_bad_refcount_table_entry(header_->entry_format(), entry)) {
        visitor.refer(entry, cluster_bytes, 1, "refcount block");
      }
    }
  }
  VMM_TRY(walk_l1_flags(visitor, options));
  for (const L2Reference& reference : tables_) {
    visitor.refer(reference.offset, header_->cluster_bytes(), reference.times, "L2 table");
    VMM_TRY(walk_l2(reference, visitor, options));
  }
  return {};
}

Status ReferenceWalk::walk_l1_flags(ReferenceVisitor& visitor, const Options& options) {
  const EntryFormat format = header_->entry_format();
  for (size_t i = 0; i < l1_.size(); ++i) {
    const uint64_t offset = l1_[i] & kEntryOffsetMask;
    if (offset == 0 || is_bad_l1_entry(format, l1_[i]) ||
        !visitor.change_flag(offset, (l1_[i] & kEntryCopied) != 0, "L1 entry") || !options.may_write) {
      continue;
    }
    l1_[i] ^= kEntryCopied;
    std::array<std::byte, 8> bytes{};
    store_be<uint64_t>(bytes.data(), l1_[i]);
    VMM_TRY(file_->write(FileOffset(header_->l1_offset + i * 8), bytes));
  }
  return {};
}

Status ReferenceWalk::walk_l2(const L2Reference& reference, ReferenceVisitor& visitor,
                              const Options& options) {
  const EntryFormat format = header_->entry_format();
  const uint32_t entry_bytes = format.l2_entry_bytes();
  VMM_TRY(file_->read(FileOffset(reference.offset), cluster_));
  visitor.start_table();
  bool is_changed = false;
  for (size_t at = 0; at < cluster_.size(); at += entry_bytes) {
    const bool has_bitmap = format.has_subclusters && load_be<uint64_t>(cluster_.data() + at + 8) != 0;
    if (has_bitmap || load_be<uint64_t>(cluster_.data() + at) != 0) {
      is_changed = visit_entry(reference, cluster_.data() + at, visitor, options) || is_changed;
    }
  }
  return is_changed ? file_->write(FileOffset(reference.offset), cluster_) : Status();
}

// True: the entry has been changed.
bool ReferenceWalk::visit_entry(const L2Reference& reference, std::byte* bytes, ReferenceVisitor& visitor,
                                const Options& options) {
  const EntryFormat format = header_->entry_format();
  L2Entry entry{.descriptor = load_be<uint64_t>(bytes)};
  if (format.has_subclusters) {
    entry.bitmap = load_be<uint64_t>(bytes + 8);
  }
  const ClusterKind kind = kind_of(format, entry);
  const bool is_compressed = kind == ClusterKind::kCompressed;
  const CompressedRange range =
      is_compressed ? compressed_range(format, entry.descriptor) : CompressedRange();
  const uint64_t end = align_up(file_bytes_, format.cluster_bytes());
  const uint64_t host = is_compressed ? range.offset : entry.host_offset();
  if (kind == ClusterKind::kInvalid || (!format.has_data_file && host >= end && host != 0)) {
    if (options.with_damage) {
      visitor.damage(fmt::format("the L2 entry at offset {:#x} ({:#x}) is not valid",
                                 reference.offset + static_cast<uint64_t>(bytes - cluster_.data()),
                                 entry.descriptor));
    }
    if (!format.has_data_file && host != 0 && host < end) {
      const uint64_t cluster = align_down(host, format.cluster_bytes());
      visitor.refer(cluster, is_compressed ? range.bytes : format.cluster_bytes(), reference.times,
                    "cluster of an entry that is not valid");
    }
    return false;
  }
  if (is_compressed) {
    visitor.refer(range.offset, range.bytes, reference.times, "compressed cluster");
  } else if (entry.host_offset() != 0 && !format.has_data_file) {
    visitor.refer(entry.host_offset(), format.cluster_bytes(), reference.times, "data cluster");
  }
  const bool has_place = host != 0 || (format.has_data_file && entry.is_copied());
  if (reference.is_active() && options.with_damage && has_place) {
    visitor.count_cluster(host, is_compressed);
  }
  if (!reference.is_active() || is_compressed || !has_place || format.has_data_file ||
      !visitor.change_flag(host, entry.is_copied(), "L2 entry") || !options.may_write) {
    return false;
  }
  store_be<uint64_t>(bytes, entry.descriptor ^ kEntryCopied);
  return true;
}

}  // namespace vmm::block::qcow2
