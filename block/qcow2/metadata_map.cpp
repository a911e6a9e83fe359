#include "block/qcow2/metadata_map.h"

#include <algorithm>
#include <bit>

namespace vmm::block::qcow2 {
namespace {

constexpr size_t kMinFilterBits = 4096;
constexpr size_t kMaxFilterBits = size_t{1} << 26U;
constexpr size_t kFilterBitsPerTable = 32;

bool points_to(const std::vector<uint64_t>& table, uint64_t offset) {
  return std::ranges::any_of(table,
                             [offset](uint64_t entry) { return (entry & kEntryOffsetMask) == offset; });
}

}  // namespace

MetadataMap::MetadataMap(uint32_t cluster_bits, const std::vector<uint64_t>& l1,
                         const std::vector<uint64_t>& refcount_table)
    : cluster_bits_(cluster_bits), l1_(l1), refcount_table_(refcount_table) {
  const size_t wanted =
      std::clamp((l1.size() + refcount_table.size()) * kFilterBitsPerTable, kMinFilterBits, kMaxFilterBits);
  filter_.resize(std::bit_ceil(wanted) / 64);
  for (const auto* table : {&l1, &refcount_table}) {
    for (const uint64_t entry : *table) {
      if ((entry & kEntryOffsetMask) != 0) {
        note_table(entry & kEntryOffsetMask);
      }
    }
  }
}

void MetadataMap::set_range(uint32_t id, ByteRange range) {
  if (ranges_.size() <= id) {
    ranges_.resize(size_t{id} + 1);
  }
  ranges_[id] = range;
}

bool MetadataMap::has_ranges_that_overlap() const {
  std::vector<ByteRange> sorted = ranges_;
  std::erase_if(sorted, [](const ByteRange& range) { return range.begin == range.end; });
  std::ranges::sort(sorted, {}, &ByteRange::begin);
  const auto found = std::ranges::adjacent_find(
      sorted, [](const ByteRange& first, const ByteRange& second) { return first.end > second.begin; });
  return found != sorted.end();
}

// In several turns where there are many, each with a part of the clusters: little memory at any time.
bool MetadataMap::has_tables_that_overlap() const {
  constexpr size_t kTablesInATurn = size_t{1} << 20U;
  const uint64_t turns = (l1_.size() + refcount_table_.size()) / kTablesInATurn + 1;
  std::vector<uint64_t> places;
  for (uint64_t turn = 0; turn < turns; ++turn) {
    places.clear();
    for (const auto* table : {&l1_, &refcount_table_}) {
      for (const uint64_t entry : *table) {
        const uint64_t offset = entry & kEntryOffsetMask;
        if (offset != 0 && (offset >> cluster_bits_) % turns == turn) {
          places.push_back(offset);
        }
      }
    }
    std::ranges::sort(places);
    if (std::ranges::adjacent_find(places) != places.end() || lie_over_ranges(places)) {
      return true;
    }
  }
  return false;
}

bool MetadataMap::lie_over_ranges(const std::vector<uint64_t>& places) const {
  const uint64_t cluster_bytes = uint64_t{1} << cluster_bits_;
  return std::ranges::any_of(ranges_, [&places, cluster_bytes](const ByteRange& range) {
    const uint64_t first = range.begin < cluster_bytes ? 0 : range.begin - cluster_bytes + 1;
    const auto found = std::ranges::lower_bound(places, first);
    return found != places.end() && *found < range.end;
  });
}

size_t MetadataMap::filter_bit(uint64_t cluster) const {
  return static_cast<size_t>((cluster * 0x9e37'79b9'7f4a'7c15) >> 32U) & (filter_.size() * 64 - 1);
}

void MetadataMap::note_table(uint64_t offset) {
  const size_t bit = filter_bit(offset >> cluster_bits_);
  filter_[bit / 64] |= uint64_t{1} << (bit % 64);
}

bool MetadataMap::may_be_table(uint64_t cluster) const {
  const size_t bit = filter_bit(cluster);
  return (filter_[bit / 64] >> (bit % 64) & 1U) != 0;
}

bool MetadataMap::is_table(uint64_t cluster) const {
  const uint64_t offset = cluster << cluster_bits_;
  return offset != 0 && (points_to(refcount_table_, offset) || points_to(l1_, offset));
}

bool MetadataMap::overlaps_range(uint64_t offset, uint64_t length) const {
  const ByteRange wanted{.begin = offset, .end = offset + length};
  return std::ranges::any_of(ranges_, [&wanted](const ByteRange& range) { return range.overlaps(wanted); });
}

bool MetadataMap::overlaps(uint64_t offset, uint64_t length) const {
  if (overlaps_range(offset, length)) {
    return true;
  }
  for (uint64_t cluster = offset >> cluster_bits_; cluster <= (offset + length - 1) >> cluster_bits_;
       ++cluster) {
    if (may_be_table(cluster) && is_table(cluster)) {
      return true;
    }
  }
  return false;
}

bool MetadataMap::overlaps_other_than_l2(uint64_t offset, uint64_t length) const {
  const uint64_t cluster = offset >> cluster_bits_;
  return overlaps_range(offset, length) || points_to(refcount_table_, cluster << cluster_bits_);
}

bool MetadataMap::overlaps_other_than_refcounts(uint64_t offset, uint64_t length) const {
  const uint64_t cluster = offset >> cluster_bits_;
  return overlaps_range(offset, length) || points_to(l1_, cluster << cluster_bits_);
}

}  // namespace vmm::block::qcow2
