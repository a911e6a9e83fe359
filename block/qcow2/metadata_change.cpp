#include "block/qcow2/metadata_change.h"

#include <algorithm>
#include <array>
#include <utility>

#include "block/io_vector.h"
#include "block/qcow2/check.h"
#include "block/qcow2/image.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

// Refcount blocks in memory: enough for 16 TiB in clusters of 64 KiB.
constexpr uint64_t kMaxBlockBytes = uint64_t{512} << 20U;
constexpr uint64_t kSwitchOffset = 24;
constexpr size_t kSwitchBytesV2 = 48;
constexpr size_t kSwitchBytesV3 = 72;

std::vector<std::byte> table_bytes(std::span<const uint64_t> table) {
  std::vector<std::byte> bytes(table.size() * sizeof(uint64_t));
  for (size_t i = 0; i < table.size(); ++i) {
    store_be<uint64_t>(bytes.data() + i * sizeof(uint64_t), table[i]);
  }
  return bytes;
}

// "Header", from byte 24 on.
std::vector<std::byte> switch_bytes(const Header& header) {
  std::vector<std::byte> bytes(header.version < 3 ? kSwitchBytesV2 : kSwitchBytesV3);
  const auto at = [&bytes](size_t offset) { return bytes.data() + (offset - kSwitchOffset); };
  store_be<uint64_t>(at(24), header.size_bytes);
  store_be<uint32_t>(at(32), static_cast<uint32_t>(header.crypt));
  store_be<uint32_t>(at(36), header.l1_entries);
  store_be<uint64_t>(at(40), header.l1_offset);
  store_be<uint64_t>(at(48), header.refcount_table_offset);
  store_be<uint32_t>(at(56), header.refcount_table_clusters);
  store_be<uint32_t>(at(60), header.snapshot_count);
  store_be<uint64_t>(at(64), header.snapshots_offset);
  if (header.version >= 3) {
    store_be<uint64_t>(at(kIncompatibleFieldOffset), header.incompatible);
    store_be<uint64_t>(at(kCompatibleFieldOffset), header.compatible);
    store_be<uint64_t>(at(kAutoclearFieldOffset), header.autoclear);
  }
  return bytes;
}

}  // namespace

MetadataChange::MetadataChange(SyncFile& file, const Header& header)
    : file_(&file),
      header_(header),
      format_(header.entry_format()),
      scanned_(static_cast<size_t>(header.cluster_bytes())),
      l2_(static_cast<size_t>(header.cluster_bytes())) {}

Result<MetadataChange> MetadataChange::begin(SyncFile& file, const Header& header) {
  VMM_ASSIGN_OR_RETURN(const CheckResult found, check(file, header));
  if (found.corruptions > 0) {
    return fail("{}: has {} errors ({}); repair it first (vmm-img check -f qcow2 -r all)", file.path(),
                found.corruptions, found.messages.front());
  }
  MetadataChange change(file, header);
  VMM_ASSIGN_OR_RETURN(change.file_bytes_, file.size());
  VMM_ASSIGN_OR_RETURN(change.refcount_table_,
                       read_table(file, header.refcount_table_offset,
                                  header.refcount_table_clusters * header.cluster_bytes()));
  for (size_t i = 0; i < change.refcount_table_.size(); ++i) {
    if (change.refcount_table_[i] != 0) {
      change.used_blocks_ = i + 1;
    }
  }
  return change;
}

// --- Refcounts ---

Result<MetadataChange::Block*> MetadataChange::block_of(uint64_t cluster) {
  const uint64_t index = cluster / header_.refcounts_per_block();
  if (index == last_index_) {
    return last_block_;
  }
  auto found = blocks_.find(index);
  if (found == blocks_.end()) {
    if ((blocks_.size() + 1) * header_.cluster_bytes() > kMaxBlockBytes) {
      return fail("{}: its refcounts take more than {} MiB, too much for this", file_->path(),
                  kMaxBlockBytes >> 20U);
    }
    Block block{.bytes = std::vector<std::byte>(static_cast<size_t>(header_.cluster_bytes()))};
    if (index < refcount_table_.size() && refcount_table_[index] != 0) {
      VMM_TRY(file_->read(FileOffset(refcount_table_[index]), block.bytes));
    }
    found = blocks_.emplace(index, std::move(block)).first;
  }
  last_index_ = index;
  last_block_ = &found->second;
  return last_block_;
}

Result<uint64_t> MetadataChange::refcount(uint64_t cluster) {
  VMM_ASSIGN_OR_RETURN(const Block* block, block_of(cluster));
  return load_refcount(block->bytes.data(), cluster % header_.refcounts_per_block(), header_.refcount_order);
}

Status MetadataChange::add(uint64_t cluster, int64_t times) {
  VMM_ASSIGN_OR_RETURN(Block * block, block_of(cluster));
  const uint64_t per_block = header_.refcounts_per_block();
  const uint64_t before = load_refcount(block->bytes.data(), cluster % per_block, header_.refcount_order);
  const uint64_t most = max_refcount(header_.refcount_order);
  const auto change = static_cast<uint64_t>(times);  // modulo 2^64
  const uint64_t offset = cluster << header_.cluster_bits;
  if (times < 0 && before < -change) {
    return fail(
        "{}: the refcount of the cluster at offset {:#x} is too small; repair the image (vmm-img check "
        "-f qcow2 -r all)",
        file_->path(), offset);
  }
  if (times > 0 && most - before < change) {
    return fail(
        "{}: the cluster at offset {:#x} would be used by more than refcounts of {} bits can count; "
        "convert the image to one with larger refcount_bits",
        file_->path(), offset, 1U << header_.refcount_order);
  }
  store_refcount(block->bytes.data(), cluster % per_block, header_.refcount_order, before + change);
  if (!block->is_changed) {
    block->is_changed = true;
    unplaced_.push_back(cluster / per_block);
    used_blocks_ = std::max(used_blocks_, cluster / per_block + 1);
  }
  return {};
}

Status MetadataChange::refer(uint64_t offset, uint64_t bytes, int64_t times) {
  if (bytes == 0) {
    return {};
  }
  const uint64_t last = (offset + bytes - 1) >> header_.cluster_bits;
  for (uint64_t cluster = offset >> header_.cluster_bits; cluster <= last; ++cluster) {
    VMM_TRY(add(cluster, times));
  }
  return {};
}

Status MetadataChange::refer_entry(const L2Entry& entry, int64_t times) {
  if (kind_of(format_, entry) == ClusterKind::kCompressed) {
    const CompressedRange range = compressed_range(format_, entry.descriptor);
    return refer(range.offset, range.bytes, times);
  }
  return entry.host_offset() == 0 || format_.has_data_file
             ? Status()
             : add(entry.host_offset() >> format_.cluster_bits, times);
}

Status MetadataChange::refer_tree(std::span<const uint64_t> l1, int64_t times) {
  std::vector<uint64_t> tables;
  for (const uint64_t entry : l1) {
    if ((entry & kEntryOffsetMask) != 0) {
      tables.push_back(entry & kEntryOffsetMask);
    }
  }
  std::ranges::sort(tables);
  // Nobody makes that; it would let a small image keep us busy for ever.
  if (std::ranges::adjacent_find(tables) != tables.end()) {
    return fail("{}: one of its L1 tables refers to the same L2 table twice", file_->path());
  }
  for (const uint64_t table : tables) {
    VMM_TRY(add(table >> format_.cluster_bits, times));
    VMM_TRY(read_l2(table));
    for (uint64_t i = 0; i < header_.l2_entries(); ++i) {
      const L2Entry entry = l2_entry(i);
      if (entry.descriptor != 0) {
        VMM_TRY(refer_entry(entry, times));
      }
    }
  }
  return {};
}

// To all who ask, a block of zeroes is as good as none.
Status MetadataChange::drop_unused_blocks() {
  for (uint64_t index = 0; index < refcount_table_.size(); ++index) {
    if (refcount_table_[index] == 0) {
      continue;
    }
    VMM_TRY(file_->read(FileOffset(refcount_table_[index]), scanned_));
    scanned_index_ = UINT64_MAX;
    if (bytes_are_zero(scanned_)) {
      VMM_TRY(add(std::exchange(refcount_table_[index], 0) >> format_.cluster_bits, -1));
    }
  }
  return {};
}

// --- Free clusters ---

Result<bool> MetadataChange::was_free(uint64_t cluster) {
  const uint64_t per_block = header_.refcounts_per_block();
  const uint64_t index = cluster / per_block;
  if (index >= refcount_table_.size() || refcount_table_[index] == 0) {
    return true;
  }
  if (scanned_index_ != index) {
    VMM_TRY(file_->read(FileOffset(refcount_table_[index]), scanned_));
    scanned_index_ = index;
  }
  return load_refcount(scanned_.data(), cluster % per_block, header_.refcount_order) == 0;
}

// Only what was free before the change: what it gives up belongs to the old image until the end. Never goes
// back, so that nothing is taken twice.
Result<uint64_t> MetadataChange::allocate(uint64_t bytes, uint64_t refcount) {
  const uint64_t count = std::max<uint64_t>(divide_up(bytes, header_.cluster_bytes()), 1);
  uint64_t found = 0;
  while (found < count) {
    VMM_ASSIGN_OR_RETURN(const bool is_free, was_free(next_free_ + found));
    if (is_free) {
      ++found;
    } else {
      next_free_ += found + 1;
      found = 0;
    }
  }
  const uint64_t first = next_free_;
  next_free_ += count;
  if (next_free_ >= kMaxHostOffset >> format_.cluster_bits) {
    return fail("{}: has no free clusters left", file_->path());
  }
  for (uint64_t cluster = first; cluster < next_free_; ++cluster) {
    VMM_TRY(add(cluster, static_cast<int64_t>(refcount)));
  }
  return first << format_.cluster_bits;
}

Result<uint64_t> MetadataChange::allocate_at_end(uint64_t bytes) {
  const uint64_t per_block = header_.refcounts_per_block();
  next_free_ = std::max(next_free_, divide_up(file_bytes_, header_.cluster_bytes()));
  for (uint64_t index = refcount_table_.size(); index > next_free_ / per_block; --index) {
    for (uint64_t i = refcount_table_[index - 1] == 0 ? 0 : per_block; i > 0; --i) {
      const uint64_t cluster = (index - 1) * per_block + i - 1;
      VMM_ASSIGN_OR_RETURN(const bool is_free, was_free(cluster));
      if (!is_free && cluster >= next_free_) {
        next_free_ = cluster + 1;
        return allocate(bytes);
      }
    }
  }
  return allocate(bytes);
}

Result<uint64_t> MetadataChange::write_new(std::span<const std::byte> bytes) {
  if (bytes.empty()) {
    return 0;
  }
  VMM_ASSIGN_OR_RETURN(const uint64_t offset, allocate(bytes.size()));
  std::vector<std::byte> padded(bytes.begin(), bytes.end());
  padded.resize(align_up(bytes.size(), header_.cluster_bytes()));
  VMM_TRY(file_->write(FileOffset(offset), padded));
  return offset;
}

Result<uint64_t> MetadataChange::write_new_l1(std::span<const uint64_t> l1) {
  return write_new(table_bytes(l1));
}

Status MetadataChange::replace_l1(Header& header, std::span<const uint64_t> l1) {
  VMM_TRY(refer(header_.l1_offset, uint64_t{header_.l1_entries} * sizeof(uint64_t), -1));
  VMM_ASSIGN_OR_RETURN(header.l1_offset, write_new_l1(l1));
  header.l1_entries = static_cast<uint32_t>(l1.size());
  return {};
}

// --- L2 tables ---

Status MetadataChange::read_l2(uint64_t offset) { return file_->read(FileOffset(offset), l2_); }

L2Entry MetadataChange::l2_entry(uint64_t index) const {
  const std::byte* at = l2_.data() + index * format_.l2_entry_bytes();
  L2Entry entry{.descriptor = load_be<uint64_t>(at)};
  if (format_.has_subclusters) {
    entry.bitmap = load_be<uint64_t>(at + 8);
  }
  return entry;
}

void MetadataChange::store_l2_entry(uint64_t index, const L2Entry& entry) {
  std::byte* at = l2_.data() + index * format_.l2_entry_bytes();
  store_be<uint64_t>(at, entry.descriptor);
  if (format_.has_subclusters) {
    store_be<uint64_t>(at + 8, entry.bitmap);
  }
}

Status MetadataChange::change_l2(uint64_t& l1_entry, const EntryChange& change) {
  const uint64_t offset = l1_entry & kEntryOffsetMask;
  if (offset == 0) {
    std::ranges::fill(l2_, std::byte{0});
  } else {
    VMM_TRY(read_l2(offset));
  }
  bool is_changed = false;
  for (uint64_t i = 0; i < header_.l2_entries(); ++i) {
    const L2Entry before = l2_entry(i);
    L2Entry now = before;
    VMM_TRY(change(i, now));
    if (now != before) {
      store_l2_entry(i, now);
      is_changed = true;
    }
  }
  if (!is_changed) {
    return {};
  }
  if (offset != 0) {
    VMM_TRY(add(offset >> format_.cluster_bits, -1));
  }
  VMM_ASSIGN_OR_RETURN(const uint64_t place, allocate(header_.cluster_bytes()));
  VMM_TRY(file_->write(FileOffset(place), l2_));
  l1_entry = place | kEntryCopied;
  return {};
}

// The table in l2_; true: it has changed.
Result<bool> MetadataChange::settle_l2() {
  bool is_changed = false;
  for (uint64_t i = 0; i < header_.l2_entries(); ++i) {
    L2Entry entry = l2_entry(i);
    const ClusterKind kind = kind_of(format_, entry);
    if (entry.host_offset() == 0 || kind == ClusterKind::kCompressed || kind == ClusterKind::kInvalid) {
      continue;
    }
    VMM_ASSIGN_OR_RETURN(const uint64_t count, refcount(entry.host_offset() >> format_.cluster_bits));
    if (entry.is_copied() != (count == 1)) {
      entry.descriptor ^= kEntryCopied;
      store_l2_entry(i, entry);
      is_changed = true;
    }
  }
  return is_changed;
}

Status MetadataChange::settle_flags(std::vector<uint64_t>& l1, uint32_t users) {
  for (uint64_t& l1_entry : l1) {
    uint64_t offset = l1_entry & kEntryOffsetMask;
    if (offset == 0) {
      continue;
    }
    if (!format_.has_data_file) {
      VMM_TRY(read_l2(offset));
      VMM_ASSIGN_OR_RETURN(const bool is_changed, settle_l2());
      if (is_changed) {
        VMM_TRY(add(offset >> format_.cluster_bits, -static_cast<int64_t>(users)));
        VMM_ASSIGN_OR_RETURN(offset, allocate(header_.cluster_bytes(), users));
        VMM_TRY(file_->write(FileOffset(offset), l2_));
      }
    }
    VMM_ASSIGN_OR_RETURN(const uint64_t count, refcount(offset >> format_.cluster_bits));
    l1_entry = offset | (count == 1 ? kEntryCopied : 0);
  }
  return {};
}

// --- Taking it into use ---

// Giving a block another place changes refcounts, perhaps in blocks that had not changed before.
Status MetadataChange::place_blocks() {
  while (!unplaced_.empty()) {
    const uint64_t index = unplaced_.back();
    unplaced_.pop_back();
    VMM_ASSIGN_OR_RETURN(const uint64_t place, allocate(header_.cluster_bytes()));
    blocks_.at(index).place = place;
    if (index < refcount_table_.size() && refcount_table_[index] != 0) {
      VMM_TRY(add(refcount_table_[index] >> format_.cluster_bits, -1));
    }
  }
  return {};
}

Status MetadataChange::place_refcounts(Header& header) {
  VMM_TRY(
      refer(header_.refcount_table_offset, header_.refcount_table_clusters * header_.cluster_bytes(), -1));
  const uint64_t per_cluster = header_.cluster_bytes() / sizeof(uint64_t);
  uint64_t offset = 0;
  uint64_t clusters = 0;
  while (true) {
    VMM_TRY(place_blocks());
    const uint64_t needed = divide_up(used_blocks_, per_cluster);
    if (needed <= clusters) {
      break;
    }
    VMM_TRY(refer(offset, clusters << format_.cluster_bits, -1));
    clusters = needed;
    if (clusters << format_.cluster_bits > kMaxRefcountTableBytes) {
      return fail("{}: would need a refcount table of more than {} MiB; use larger clusters", file_->path(),
                  kMaxRefcountTableBytes >> 20U);
    }
    VMM_ASSIGN_OR_RETURN(offset, allocate(clusters << format_.cluster_bits));
  }
  header.refcount_table_offset = offset;
  header.refcount_table_clusters = static_cast<uint32_t>(clusters);
  return {};
}

Status MetadataChange::write_refcounts(const Header& header) {
  std::vector<uint64_t> table = refcount_table_;
  table.resize(
      static_cast<size_t>(header.refcount_table_clusters * header.cluster_bytes() / sizeof(uint64_t)));
  for (const auto& [index, block] : blocks_) {
    if (block.is_changed) {
      VMM_TRY(file_->write(FileOffset(block.place), block.bytes));
      table[index] = block.place;
    }
  }
  return file_->write(FileOffset(header.refcount_table_offset), table_bytes(table));
}

// Clusters that are free now and were not. Reads the old refcount blocks, which are among them.
Result<std::vector<MetadataChange::Run>> MetadataChange::given_up() {
  std::vector<uint64_t> changed;
  for (const auto& [index, block] : blocks_) {
    if (block.is_changed) {
      changed.push_back(index);
    }
  }
  std::ranges::sort(changed);
  std::vector<Run> runs;
  const uint64_t cluster_bytes = header_.cluster_bytes();
  for (const uint64_t index : changed) {
    const std::byte* now = blocks_.at(index).bytes.data();
    for (uint64_t i = 0; i < header_.refcounts_per_block(); ++i) {
      const uint64_t cluster = index * header_.refcounts_per_block() + i;
      if (load_refcount(now, i, header_.refcount_order) != 0) {
        continue;
      }
      VMM_ASSIGN_OR_RETURN(const bool was_nothing, was_free(cluster));
      const uint64_t offset = cluster << format_.cluster_bits;
      if (was_nothing) {
        continue;
      }
      if (!runs.empty() && runs.back().offset + runs.back().bytes == offset) {
        runs.back().bytes += cluster_bytes;
      } else {
        runs.push_back({.offset = offset, .bytes = cluster_bytes});
      }
    }
  }
  return runs;
}

Status MetadataChange::commit(Header& header, HeaderSwitch* whole) {
  VMM_TRY(place_refcounts(header));
  VMM_TRY(write_refcounts(header));
  VMM_TRY(file_->sync());
  if (whole != nullptr) {
    VMM_TRY(whole->run(header));
  } else {
    VMM_TRY(file_->write(FileOffset(kSwitchOffset), switch_bytes(header)));
    VMM_TRY(file_->sync());
  }
  if (whole != nullptr) {
    whole->finish(header);
  }
  // It is done; that the space cannot be given back is no failure.
  if (const auto runs = given_up()) {
    for (const Run& run : *runs) {
      file_->discard(FileOffset(run.offset), run.bytes);
    }
  }
  return {};
}

}  // namespace vmm::block::qcow2
