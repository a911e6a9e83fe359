#include "block/qcow2/bitmap_change.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "block/qcow2/image.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

// The first bit is the least significant of the first byte.
bool bit_at(std::span<const std::byte> bytes, uint64_t bit) {
  return (bytes[bit / 8] >> (bit % 8) & std::byte{1}) != std::byte{0};
}

// The first from there on that has the value; `end` if none has.
uint64_t find_bit(std::span<const std::byte> bytes, uint64_t from, uint64_t end, bool value) {
  const std::byte none = value ? std::byte{0} : std::byte{0xff};
  while (from < end && bit_at(bytes, from) != value) {
    from += from % 8 == 0 && bytes[from / 8] == none ? 8 : 1;
  }
  return std::min(from, end);
}

void set_range(std::span<std::byte> bytes, uint64_t first, uint64_t end) {
  while (first < end) {
    if (first % 8 == 0 && end - first >= 8) {
      const auto whole =
          bytes.subspan(static_cast<size_t>(first / 8), static_cast<size_t>((end - first) / 8));
      std::ranges::fill(whole, std::byte{0xff});
      first += whole.size() * 8;
    } else {
      bytes[first / 8] |= std::byte{1} << (first % 8);
      ++first;
    }
  }
}

// QEMU's: the size of a cluster, from 4 KiB to 64 KiB.
uint8_t usual_granularity_bits(const Header& header) {
  return static_cast<uint8_t>(std::clamp(header.cluster_bits, 12U, 16U));
}

}  // namespace

Result<BitmapSet> BitmapSet::read(SyncFile& file, const Header& header) {
  BitmapSet set(file, header);
  if (header.bitmaps && header.bitmaps->directory_bytes > kMaxBitmapDirectoryInMemory) {
    return fail("{}: its directory of dirty bitmaps has {} bytes, more than the {} that can be changed here",
                file.path(), header.bitmaps->directory_bytes, kMaxBitmapDirectoryInMemory);
  }
  VMM_TRY(visit_bitmaps(file, header, [&set](const Bitmap& bitmap) -> Status {
    set.entries_.push_back({.bitmap = bitmap, .table = {}, .clusters = {}});
    return {};
  }));
  return set;
}

Result<BitmapSet::Entry*> BitmapSet::find(const std::string& name) {
  const auto found =
      std::ranges::find_if(entries_, [&name](const Entry& entry) { return entry.bitmap.name == name; });
  if (found == entries_.end()) {
    return fail("{}: has no dirty bitmap '{}' (vmm-img info lists them)", file_->path(), name);
  }
  return &*found;
}

Result<BitmapSet::Entry*> BitmapSet::find_usable(const std::string& name) {
  VMM_ASSIGN_OR_RETURN(Entry * entry, find(name));
  if ((entry->bitmap.flags & kBitmapInUse) != 0) {
    return fail(
        "{}: its dirty bitmap '{}' is inconsistent, as it was not told of all writes; it can only be removed",
        file_->path(), name);
  }
  return entry;
}

Status BitmapSet::check_size(const Bitmap& bitmap) const {
  const uint64_t bytes = divide_up(bits_for(bitmap, header_.size_bytes), 8);
  const uint64_t table_bytes = table_entries_for(header_, bitmap, header_.size_bytes) * sizeof(uint64_t);
  if (bytes > kMaxBitmapBytes || table_bytes > kMaxBitmapTableBytes) {
    return fail("{}: a dirty bitmap with a bit for {} bytes each is too large; -g allows more bytes for each",
                file_->path(), uint64_t{1} << bitmap.granularity_bits);
  }
  return {};
}

// --- The changes ---

Status BitmapSet::add(const std::string& name, std::optional<uint64_t> granularity_bytes) {
  if (header_.version < 3) {
    return fail("{}: images of version 2 have no dirty bitmaps; convert it to version 3 (compat=1.1)",
                file_->path());
  }
  if (name.empty() || name.size() > kMaxBitmapNameBytes) {
    return fail("{}: the name of a dirty bitmap has 1 to {} bytes, not {}", file_->path(),
                kMaxBitmapNameBytes, name.size());
  }
  if (find(name)) {
    return fail("{}: has a dirty bitmap '{}' already", file_->path(), name);
  }
  if (entries_.size() >= kMaxBitmaps) {
    return fail("{}: has {} dirty bitmaps, and no more are possible", file_->path(), entries_.size());
  }
  Entry entry{.bitmap = {.flags = kBitmapAuto,
                         .granularity_bits = usual_granularity_bits(header_),
                         .extra = {},
                         .name = name},
              .is_new = true,
              .has_new_bits = true,
              .table = {},
              .clusters = {}};
  if (granularity_bytes) {
    entry.bitmap.granularity_bits = static_cast<uint8_t>(std::countr_zero(*granularity_bytes));
  }
  VMM_TRY(check_size(entry.bitmap));
  entry.table.emplace(table_entries_for(header_, entry.bitmap, header_.size_bytes));
  entries_.push_back(std::move(entry));
  has_changed_ = true;
  return {};
}

Status BitmapSet::remove(const std::string& name) {
  VMM_ASSIGN_OR_RETURN(const Entry* entry, find(name));
  if (!entry->is_new) {
    gone_.push_back(entry->bitmap);
  }
  entries_.erase(entries_.begin() + (entry - entries_.data()));
  has_changed_ = true;
  return {};
}

Status BitmapSet::clear(const std::string& name) {
  VMM_ASSIGN_OR_RETURN(Entry * entry, find_usable(name));
  VMM_TRY(load(*entry));
  std::ranges::fill(*entry->table, 0);
  entry->clusters.clear();
  entry->has_new_bits = true;
  has_changed_ = true;
  return {};
}

Status BitmapSet::set_tracking(const std::string& name, bool is_on) {
  VMM_ASSIGN_OR_RETURN(Entry * entry, find_usable(name));
  const uint32_t flags = (entry->bitmap.flags & ~kBitmapAuto) | (is_on ? kBitmapAuto : 0);
  has_changed_ = has_changed_ || flags != entry->bitmap.flags;
  entry->bitmap.flags = flags;
  return {};
}

Status BitmapSet::merge(const std::string& name, BitmapSet& others, const std::string& source) {
  VMM_ASSIGN_OR_RETURN(Entry * to, find_usable(name));
  VMM_ASSIGN_OR_RETURN(Entry * from, others.find_usable(source));
  if (header_.size_bytes != others.header_.size_bytes) {
    return fail("{}: is of a disk of {} bytes, and {} of one of {}: dirty bitmaps of one size can be merged",
                file_->path(), header_.size_bytes, others.file_->path(), others.header_.size_bytes);
  }
  if (to == from) {
    return {};
  }
  VMM_TRY(load(*to));
  VMM_TRY(others.load(*from));
  const uint64_t bits_per_cluster = others.header_.cluster_bytes() * 8;
  for (uint64_t i = 0; i < from->table->size(); ++i) {
    if ((*from->table)[i] != 0 || from->clusters.contains(i)) {
      VMM_ASSIGN_OR_RETURN(const auto bytes, others.cluster(*from, i));
      VMM_TRY(merge_cluster(*from, bytes, i * bits_per_cluster, *to));
    }
  }
  has_changed_ = true;
  return {};
}

// --- Bits ---

Status BitmapSet::load(Entry& entry) const {
  if (entry.table) {
    return {};
  }
  VMM_ASSIGN_OR_RETURN(const uint64_t file_bytes, file_->size());
  const Bitmap& bitmap = entry.bitmap;
  const uint64_t bytes = uint64_t{bitmap.table_entries} * sizeof(uint64_t);
  if (bitmap.type != kDirtyTracking || bitmap.granularity_bits < kMinBitmapGranularityBits ||
      bitmap.table_offset % header_.cluster_bytes() != 0 || bitmap.table_offset > file_bytes ||
      bytes > file_bytes - bitmap.table_offset ||
      bitmap.table_entries != table_entries_for(header_, bitmap, header_.size_bytes)) {
    return fail(
        "{}: its dirty bitmap '{}' is not valid, or of a kind that is not known; it can only be removed",
        file_->path(), bitmap.name);
  }
  VMM_TRY(check_size(bitmap));
  VMM_ASSIGN_OR_RETURN(entry.table, read_table(*file_, bitmap.table_offset, bytes));
  return {};
}

// As it is to be.
Result<std::vector<std::byte>> BitmapSet::cluster(const Entry& entry, uint64_t index) const {
  if (const auto found = entry.clusters.find(index); found != entry.clusters.end()) {
    return found->second;
  }
  const uint64_t in_table = (*entry.table)[static_cast<size_t>(index)];
  const uint64_t offset = in_table & kEntryOffsetMask;
  std::vector<std::byte> bytes(static_cast<size_t>(header_.cluster_bytes()),
                               (in_table & kBitmapAllOnes) != 0 ? std::byte{0xff} : std::byte{0});
  if (offset != 0) {
    VMM_TRY(file_->read(FileOffset(offset), bytes));
  }
  return bytes;
}

// Of the source's bits, those in these bytes, which may be of another granularity.
Status BitmapSet::merge_cluster(const Entry& from, std::span<const std::byte> bytes, uint64_t first_bit,
                                Entry& to) const {
  const uint64_t size_bytes = header_.size_bytes;
  const uint64_t all_bits = bits_for(from.bitmap, size_bytes);
  const uint64_t end = std::min<uint64_t>(bytes.size() * 8, all_bits - std::min(first_bit, all_bits));
  for (uint64_t bit = find_bit(bytes, 0, end, true); bit < end;) {
    const uint64_t last = find_bit(bytes, bit, end, false);
    const uint64_t disk_begin = (first_bit + bit) << from.bitmap.granularity_bits;
    const uint64_t disk_end = std::min(size_bytes, (first_bit + last) << from.bitmap.granularity_bits);
    VMM_TRY(set_bits(to, disk_begin >> to.bitmap.granularity_bits, bits_for(to.bitmap, disk_end)));
    bit = find_bit(bytes, last, end, true);
  }
  return {};
}

Status BitmapSet::set_bits(Entry& entry, uint64_t first, uint64_t end) const {
  const uint64_t bits_per_cluster = header_.cluster_bytes() * 8;
  while (first < end) {
    const uint64_t index = first / bits_per_cluster;
    auto found = entry.clusters.find(index);
    if (found == entry.clusters.end()) {
      VMM_ASSIGN_OR_RETURN(auto bytes, cluster(entry, index));
      found = entry.clusters.emplace(index, std::move(bytes)).first;
      entry.has_new_bits = true;
    }
    const uint64_t stop = std::min(end, (index + 1) * bits_per_cluster);
    set_range(found->second, first - index * bits_per_cluster, stop - index * bits_per_cluster);
    first = stop;
  }
  return {};
}

// --- Taking them into use ---

// The table, and the clusters of bits that are not among those kept at their places.
Status BitmapSet::give_up(const Bitmap& bitmap, const std::vector<uint64_t>& kept,
                          MetadataChange& change) const {
  const uint64_t bytes = uint64_t{bitmap.table_entries} * sizeof(uint64_t);
  if (bytes > kMaxBitmapTableBytes) {
    return fail("{}: the table of its dirty bitmap '{}' has {} bytes, more than can be changed here",
                file_->path(), bitmap.name, bytes);
  }
  VMM_ASSIGN_OR_RETURN(const auto table, read_table(*file_, bitmap.table_offset, bytes));
  for (size_t i = 0; i < table.size(); ++i) {
    const uint64_t offset = table[i] & kEntryOffsetMask;
    if (offset != 0 && (i >= kept.size() || (kept[i] & kEntryOffsetMask) != offset)) {
      VMM_TRY(change.refer(offset, header_.cluster_bytes(), -1));
    }
  }
  return change.refer(bitmap.table_offset, bytes, -1);
}

Status BitmapSet::write(Entry& entry, MetadataChange& change) const {
  if (!entry.has_new_bits) {
    return {};
  }
  std::vector<uint64_t>& table = *entry.table;
  for (const auto& [index, bytes] : entry.clusters) {
    table[static_cast<size_t>(index)] = 0;
  }
  if (!entry.is_new) {
    VMM_TRY(give_up(entry.bitmap, table, change));
  }
  for (const auto& [index, bytes] : entry.clusters) {
    VMM_ASSIGN_OR_RETURN(table[static_cast<size_t>(index)], change.write_new(bytes));
  }
  VMM_ASSIGN_OR_RETURN(entry.bitmap.table_offset, change.write_new_l1(table));
  entry.bitmap.table_entries = static_cast<uint32_t>(table.size());
  return {};
}

Status BitmapSet::commit(Header& header) {
  if (!has_changed_) {
    return {};
  }
  VMM_ASSIGN_OR_RETURN(MetadataChange change, MetadataChange::begin(*file_, header_));
  for (const Bitmap& bitmap : gone_) {
    VMM_TRY(give_up(bitmap, {}, change));
  }
  std::vector<std::byte> directory;
  for (Entry& entry : entries_) {
    VMM_TRY(write(entry, change));
    put_entry(directory, entry.bitmap);
  }
  if (directory.size() > kMaxBitmapDirectoryInMemory) {
    return fail("{}: its directory of dirty bitmaps would have {} bytes, more than {}; remove some of them",
                file_->path(), directory.size(), kMaxBitmapDirectoryInMemory);
  }
  Header now = header_;
  if (now.bitmaps) {
    VMM_TRY(change.refer(now.bitmaps->directory_offset, now.bitmaps->directory_bytes, -1));
  }
  now.bitmaps.reset();
  now.autoclear &= ~kAutoclearBitmaps;
  if (!entries_.empty()) {
    now.autoclear |= kAutoclearBitmaps;
    now.bitmaps = BitmapsExtension{.count = static_cast<uint32_t>(entries_.size()),
                                   .directory_bytes = directory.size()};
    VMM_ASSIGN_OR_RETURN(now.bitmaps->directory_offset, change.write_new(directory));
  }
  VMM_ASSIGN_OR_RETURN(HeaderSwitch whole, HeaderSwitch::prepare(*file_, now));
  VMM_TRY(change.commit(now, &whole));
  VMM_ASSIGN_OR_RETURN(header, read_header(*file_));
  return {};
}

}  // namespace vmm::block::qcow2
