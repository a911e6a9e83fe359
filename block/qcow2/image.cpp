#include "block/qcow2/image.h"

#include <algorithm>
#include <array>
#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::block::qcow2 {
namespace {

constexpr uint32_t kSliceBytes = 4096;
// Random reads over 256 GiB of 64 KiB clusters find every L2 slice in memory.
constexpr uint64_t kDefaultCacheBytes = uint64_t{32} << 20U;
constexpr uint64_t kMinCacheBytes = uint64_t{256} << 10U;

uint32_t slice_bytes_of(const Header& header) {
  return static_cast<uint32_t>(std::min<uint64_t>(kSliceBytes, header.cluster_bytes()));
}

// No more than the image has tables for.
size_t cache_tables(const Header& header, uint64_t cache_bytes) {
  const uint64_t all = std::max<uint64_t>(header.l1_entries_of_disk(), 1) * header.cluster_bytes();
  const uint64_t bytes =
      std::min(cache_bytes == 0 ? kDefaultCacheBytes : std::max(cache_bytes, kMinCacheBytes), all);
  return static_cast<size_t>(bytes / slice_bytes_of(header));
}

bool can_follow(const Extent& first, const Extent& second) {
  if (first.kind != second.kind) {
    return false;
  }
  switch (first.kind) {
    case Extent::Kind::kData:
      return first.offset.bytes() + first.length == second.offset.bytes();
    case Extent::Kind::kZeroes:
    case Extent::Kind::kBacking:
      return first.file == second.file &&
             (first.file == nullptr || first.offset.bytes() + first.length == second.offset.bytes());
    case Extent::Kind::kCompressed:
    case Extent::Kind::kWait:
    case Extent::Kind::kError:
      return false;
  }
  return false;
}

}  // namespace

Result<Header> read_header(SyncFile& file) {
  std::array<std::byte, 512> start{};
  VMM_TRY(file.read(FileOffset(0), start));
  VMM_ASSIGN_OR_RETURN(const uint64_t wanted, header_area_bytes(start, file.path()));
  VMM_ASSIGN_OR_RETURN(const uint64_t size, file.size());
  std::vector<std::byte> area(static_cast<size_t>(std::min(wanted, size)));
  VMM_TRY(file.read(FileOffset(0), area));
  return parse_header(area, file.path());
}

Result<std::vector<uint64_t>> read_table(SyncFile& file, uint64_t offset, uint64_t bytes) {
  std::vector<uint64_t> entries(static_cast<size_t>(bytes / sizeof(uint64_t)));
  VMM_TRY(file.read(FileOffset(offset), std::as_writable_bytes(std::span(entries))));
  for (uint64_t& entry : entries) {
    entry = __builtin_bswap64(entry);
  }
  return entries;
}

Result<std::unique_ptr<Image>> Image::open(Files files, Header header, Options options) {
  SyncFile& sync = *files.sync;
  VMM_ASSIGN_OR_RETURN(const uint64_t file_size, sync.size());
  if (header.l1_entries > 0 &&
      header.l1_offset + uint64_t{header.l1_entries} * 8 > align_up(file_size, 512)) {
    return fail(
        "{}: its L1 table ({} entries at {:#x}) reaches past the end of the file of {} bytes; it is "
        "truncated",
        sync.path(), header.l1_entries, header.l1_offset, file_size);
  }
  VMM_ASSIGN_OR_RETURN(auto l1, read_table(sync, header.l1_offset, uint64_t{header.l1_entries} * 8));
  // A snapshot's may be shorter than its disk; what it does not tell of is not there.
  l1.resize(std::max<size_t>(l1.size(), static_cast<size_t>(header.l1_entries_of_disk())));
  std::vector<uint64_t> refcount_table;
  if (!options.read_only) {
    const uint64_t bytes = header.refcount_table_clusters * header.cluster_bytes();
    if (header.refcount_table_offset + bytes > align_up(file_size, header.cluster_bytes())) {
      return fail("{}: its refcount table ({} bytes at {:#x}) reaches past the end of the file of {} bytes",
                  sync.path(), bytes, header.refcount_table_offset, file_size);
    }
    VMM_ASSIGN_OR_RETURN(refcount_table, read_table(sync, header.refcount_table_offset, bytes));
  }
  std::unique_ptr<Image> image(new Image(std::move(files), std::move(header), std::move(l1),
                                         std::move(refcount_table), std::move(options)));
  image->state_.used_end = file_size;
  return image;
}

Image::Image(Files files, Header header, std::vector<uint64_t> l1, std::vector<uint64_t> refcount_table,
             Options options)
    : files_(std::move(files)),
      state_(files_.sync->path(), std::move(header), std::move(l1), std::move(refcount_table), *files_.image),
      l2_cache_(*files_.image, slice_bytes_of(state_.header),
                cache_tables(state_.header, options.cache_bytes)),
      cache_counters_(std::move(options.cache_counters)),
      cipher_(std::move(options.cipher)),
      decompressor_(state_.header.compression == CompressionType::kZstd ? make_zstd_decompressor()
                                                                        : make_deflate_decompressor()) {
  state_.is_read_only = options.read_only;
}

Image::~Image() = default;

bool Image::decompress(std::span<const std::byte> stored, std::span<std::byte> cluster) {
  return decompressor_->run(stored, cluster);
}

// Up to `most`, of the file's first `clusters`: those that are in use.
Result<uint64_t> Image::count_used(uint64_t clusters, uint64_t most) {
  const Header& header = state_.header;
  SyncFile& file = *files_.sync;
  const uint64_t per_block = header.refcounts_per_block();
  VMM_ASSIGN_OR_RETURN(const auto table, read_table(file, header.refcount_table_offset,
                                                    header.refcount_table_clusters * header.cluster_bytes()));
  std::vector<std::byte> block(static_cast<size_t>(header.cluster_bytes()));
  uint64_t count = 0;
  for (size_t i = 0; i < table.size() && i * per_block < clusters && count < most; ++i) {
    if (table[i] == 0 || is_bad_refcount_table_entry(header.entry_format(), table[i])) {
      continue;
    }
    VMM_TRY(file.read(FileOffset(table[i]), block));
    for (uint64_t j = 0; j < std::min(per_block, clusters - i * per_block); ++j) {
      count += load_refcount(block.data(), j, header.refcount_order) != 0 ? 1 : 0;
    }
  }
  return count;
}

// A file with much less space than clusters in use was preallocated: all have a place, and many hold nothing.
Holes Image::holes() {
  if (files_.data_file != nullptr) {
    return Holes::kNotAsked;
  }
  const auto file_bytes = data_sync_file().size();
  const uint64_t allocated = data_file().allocated_bytes() / state_.cluster_bytes();
  const uint64_t threshold = std::max(allocated * 10 / 9, allocated + 2);
  const uint64_t clusters = file_bytes ? *file_bytes / state_.cluster_bytes() : 0;
  if (clusters < threshold) {
    return Holes::kNotAsked;
  }
  const auto used = count_used(clusters, threshold);
  return used && *used >= threshold ? Holes::kPreallocated : Holes::kNotAsked;
}

// --- L2 tables ---

Image::L2Place Image::find_l2(uint64_t guest_offset, Waiter* waiter) {
  const EntryFormat& format = state_.format;
  const uint64_t cluster = guest_offset >> format.cluster_bits;
  const auto l1_index = static_cast<size_t>(cluster >> format.l2_bits());
  const auto l2_index = static_cast<uint32_t>(cluster & ((uint64_t{1} << format.l2_bits()) - 1));
  const auto l2_entries = uint32_t{1} << format.l2_bits();
  VMM_CHECK(l1_index < state_.l1.size(), "an offset past the end of the disk");
  const uint64_t l1_entry = state_.l1[l1_index];
  if (is_bad_l1_entry(format, l1_entry)) {
    state_.mark_corrupt(fmt::format("L1 entry {} ({:#x}) is not valid", l1_index, l1_entry));
    return {.outcome = Outcome::kError};
  }
  const uint64_t table_offset = l1_entry & kEntryOffsetMask;
  if (table_offset == 0) {
    return {.entries = l2_entries - l2_index};
  }
  if (table_offset >= state_.used_end) {
    state_.mark_corrupt(fmt::format("the L2 table at {:#x} (L1 entry {}) lies past the end of the file",
                                    table_offset, l1_index));
    return {.outcome = Outcome::kError};
  }
  const uint32_t slice_entries = l2_cache_.slice_bytes() / format.l2_entry_bytes();
  const uint64_t slice = l2_cache_.slice_of(table_offset + uint64_t{l2_index} * format.l2_entry_bytes());
  const uint32_t index = l2_index & (slice_entries - 1);
  TableCache::Table* table = l2_cache_.find(slice);
  if (cache_counters_ != nullptr) {
    cache_counters_->count(table != nullptr);
  }
  if (table == nullptr) {
    if (waiter != nullptr) {
      l2_cache_.load(slice, *waiter);
    }
    return {.outcome = Outcome::kWait};
  }
  return {.table = table, .index = index, .entries = slice_entries - index};
}

L2Entry Image::entry_at(const TableCache::Table& table, uint32_t index) const {
  const std::byte* at = table.bytes() + size_t{index} * state_.format.l2_entry_bytes();
  L2Entry entry{.descriptor = load_be<uint64_t>(at)};
  if (state_.format.has_subclusters) {
    entry.bitmap = load_be<uint64_t>(at + 8);
  }
  return entry;
}

void Image::store_entry(std::byte* slice, uint32_t index, const L2Entry& entry) const {
  std::byte* at = slice + size_t{index} * state_.format.l2_entry_bytes();
  store_be<uint64_t>(at, entry.descriptor);
  if (state_.format.has_subclusters) {
    store_be<uint64_t>(at + 8, entry.bitmap);
  }
}

// --- Mapping ---

Extent Image::map_read(DiskOffset offset, uint64_t length, Waiter& waiter) {
  Extent total;
  uint64_t covered = 0;
  while (covered < length) {
    const uint64_t at = offset.bytes() + covered;
    const bool is_first = covered == 0;
    const L2Place place = find_l2(at, is_first ? &waiter : nullptr);
    if (place.outcome != Outcome::kReady && !is_first) {
      break;
    }
    if (place.outcome != Outcome::kReady) {
      return place.outcome == Outcome::kWait ? Extent::wait() : Extent::error(IoStatus::kIoError);
    }
    const Extent next = extent_of(place, at, length - covered);
    if (is_first) {
      total = next;
    } else if (can_follow(total, next)) {
      total.length += next.length;
    } else {
      break;
    }
    if (next.kind == Extent::Kind::kError || next.kind == Extent::Kind::kCompressed ||
        at + next.length < ((at >> state_.format.cluster_bits) + place.entries)
                               << state_.format.cluster_bits) {
      break;
    }
    covered += next.length;
  }
  return total;
}

// Within one slice.
Extent Image::extent_of(const L2Place& place, uint64_t guest_offset, uint64_t length) {
  const uint64_t cluster_bytes = state_.cluster_bytes();
  const uint64_t offset_in_cluster = guest_offset & (cluster_bytes - 1);
  length = std::min(length, place.entries * cluster_bytes - offset_in_cluster);
  if (place.table == nullptr) {
    return Extent::backing(length);
  }
  Extent total = first_extent(entry_at(*place.table, place.index), guest_offset, length);
  uint32_t index = place.index;
  while (total.kind != Extent::Kind::kError && total.length < length &&
         ((guest_offset + total.length) & (cluster_bytes - 1)) == 0) {
    ++index;
    const Extent next = first_extent(entry_at(*place.table, index), guest_offset + total.length,
                                     std::min(length - total.length, cluster_bytes));
    if (!can_follow(total, next)) {
      break;
    }
    total.length += next.length;
  }
  return total;
}

// Within one cluster.
Extent Image::first_extent(const L2Entry& entry, uint64_t guest_offset, uint64_t length) {
  const uint64_t cluster_bytes = state_.cluster_bytes();
  length = std::min(length, cluster_bytes - (guest_offset & (cluster_bytes - 1)));
  switch (kind_of(state_.format, entry)) {
    case ClusterKind::kUnallocated:
      return Extent::backing(length);
    case ClusterKind::kZeroes:
      return Extent::zeroes(length);
    case ClusterKind::kZeroesAllocated:
      return with_place(Extent::zeroes(length), entry, guest_offset);
    case ClusterKind::kCompressed:
      return compressed_extent(entry, guest_offset, length);
    case ClusterKind::kInvalid:
      return invalid_entry(guest_offset);
    case ClusterKind::kData:
      break;
  }
  if (state_.format.has_subclusters && entry.allocated_subclusters() != UINT32_MAX) {
    return subcluster_extent(entry, guest_offset, length);
  }
  return data_extent(entry, guest_offset, length);
}

Extent Image::subcluster_extent(const L2Entry& entry, uint64_t guest_offset, uint64_t length) {
  const uint32_t unit_bits = state_.format.unit_bits();
  const auto unit = static_cast<uint32_t>((guest_offset & (state_.cluster_bytes() - 1)) >> unit_bits);
  const auto state_at = [&entry](uint32_t i) {
    return (entry.allocated_subclusters() >> i & 1U) | ((entry.zero_subclusters() >> i & 1U) << 1U);
  };
  uint32_t end = unit + 1;
  while (end < kSubclusters && state_at(end) == state_at(unit)) {
    ++end;
  }
  const uint64_t unit_end = align_down(guest_offset, state_.cluster_bytes()) + (uint64_t{end} << unit_bits);
  length = std::min(length, unit_end - guest_offset);
  const bool has_place = entry.host_offset() != 0;
  switch (state_at(unit)) {
    case 0:
      return has_place ? with_place(Extent::backing(length), entry, guest_offset) : Extent::backing(length);
    case 1:
      return data_extent(entry, guest_offset, length);
    default:
      return has_place ? with_place(Extent::zeroes(length), entry, guest_offset) : Extent::zeroes(length);
  }
}

Extent Image::with_place(Extent extent, const L2Entry& entry, uint64_t guest_offset) {
  extent.file = &data_file();
  extent.offset = FileOffset(entry.host_offset() + (guest_offset & (state_.cluster_bytes() - 1)));
  return extent;
}

Extent Image::data_extent(const L2Entry& entry, uint64_t guest_offset, uint64_t length) {
  const uint64_t offset_in_cluster = guest_offset & (state_.cluster_bytes() - 1);
  if (files_.data_file != nullptr && entry.host_offset() != guest_offset - offset_in_cluster) {
    return invalid_entry(guest_offset);
  }
  return with_place({.kind = Extent::Kind::kData, .length = length}, entry, guest_offset);
}

Extent Image::compressed_extent(const L2Entry& entry, uint64_t guest_offset, uint64_t length) const {
  const CompressedRange range = compressed_range(state_.format, entry.descriptor);
  Extent extent{.kind = Extent::Kind::kCompressed, .length = length};
  extent.file = files_.image.get();
  extent.offset = FileOffset(range.offset);
  extent.stored_bytes = range.bytes;
  extent.cluster_bytes = state_.cluster_bytes();
  extent.offset_in_cluster = guest_offset & (state_.cluster_bytes() - 1);
  return extent;
}

Extent Image::invalid_entry(uint64_t guest_offset) {
  state_.mark_corrupt(fmt::format("the L2 entry of disk offset {:#x} is not valid", guest_offset));
  return Extent::error(IoStatus::kIoError);
}

}  // namespace vmm::block::qcow2
