// Table entries of qcow2: what the 64 bits of an L1, L2 or refcount table entry say.
//
// Standard: QEMU's docs/interop/qcow2, "Cluster mapping", "Extended L2 Entries", "Host cluster management".
// Values are in host order; tables in memory and on disk are big-endian. Pure functions, any thread.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace vmm::block::qcow2 {

// Bits 9 to 55 of L1 and standard L2 entries: a host offset.
constexpr uint64_t kEntryOffsetMask = 0x00ff'ffff'ffff'fe00;
// The refcount of what the entry points at is exactly one.
constexpr uint64_t kEntryCopied = uint64_t{1} << 63U;
constexpr uint64_t kEntryCompressed = uint64_t{1} << 62U;
// Standard L2 entries, version 3, without subclusters.
constexpr uint64_t kEntryZero = 1;
// Host offsets that table entries can hold are below this.
constexpr uint64_t kMaxHostOffset = uint64_t{1} << 56U;

constexpr uint32_t kSubclusters = 32;

// How an image's L2 entries are to be read.
struct EntryFormat {
  uint32_t cluster_bits = 16;
  bool has_zero_flag = true;     // version 3
  bool has_subclusters = false;  // extended L2 entries
  bool has_data_file = false;    // host offset = guest offset, which may be 0
  constexpr uint64_t cluster_bytes() const { return uint64_t{1} << cluster_bits; }
  constexpr uint32_t l2_entry_bytes() const { return has_subclusters ? 16 : 8; }
  constexpr uint32_t l2_bits() const { return cluster_bits - (has_subclusters ? 4 : 3); }
  // What is allocated, zeroed and copied as one: a subcluster, or a cluster.
  constexpr uint32_t unit_bits() const { return has_subclusters ? cluster_bits - 5 : cluster_bits; }
};

enum class ClusterKind : uint8_t {
  kUnallocated,
  kZeroes,           // no host cluster
  kZeroesAllocated,  // reads as zeroes; a host cluster is reserved
  kData,             // with subclusters: some may be unallocated or zeroes, see L2Entry::bitmap
  kCompressed,
  kInvalid,  // reserved bits, misaligned, contradictory
};

struct CompressedRange {
  uint64_t offset = 0;  // in the file, of any alignment
  uint64_t bytes = 0;   // to the end of the last sector
};

struct L2Entry {
  uint64_t descriptor = 0;
  uint64_t bitmap = 0;  // extended L2 only: bits 0-31 allocated, 32-63 zeroes

  constexpr bool operator==(const L2Entry&) const = default;
  constexpr uint64_t host_offset() const { return descriptor & kEntryOffsetMask; }
  constexpr bool is_copied() const { return (descriptor & kEntryCopied) != 0; }
  constexpr uint32_t allocated_subclusters() const { return static_cast<uint32_t>(bitmap); }
  constexpr uint32_t zero_subclusters() const { return static_cast<uint32_t>(bitmap >> 32U); }
};

constexpr uint64_t subcluster_bitmap(uint32_t allocated, uint32_t zeroes) {
  return uint64_t{allocated} | (uint64_t{zeroes} << 32U);
}

// A place that is kept for a cluster which reads as zeroes. Where clusters are encrypted, zeroes in the file
// would not be zeroes any more. REQUIRES: version 3.
constexpr L2Entry zeroes_at(const EntryFormat& format, uint64_t host_offset) {
  return {.descriptor = host_offset | kEntryCopied | (format.has_subclusters ? 0 : kEntryZero),
          .bitmap = format.has_subclusters ? subcluster_bitmap(0, UINT32_MAX) : 0};
}

// "Compressed Clusters Descriptor": x = 62 - (cluster_bits - 8). REQUIRES: the entry is compressed.
constexpr CompressedRange compressed_range(const EntryFormat& format, uint64_t descriptor) {
  const uint32_t x = 62 - (format.cluster_bits - 8);
  const uint64_t offset = descriptor & ((uint64_t{1} << x) - 1);
  const uint64_t more_sectors = (descriptor >> x) & ((uint64_t{1} << (62 - x)) - 1);
  return {.offset = offset, .bytes = (more_sectors + 1) * 512 - (offset & 511)};
}

// The other way round. REQUIRES: offset fits (below 2^min(x, 56)); bytes at most twice a cluster.
constexpr uint64_t compressed_descriptor(const EntryFormat& format, const CompressedRange& range) {
  const uint32_t x = 62 - (format.cluster_bits - 8);
  const uint64_t more_sectors = ((range.offset + range.bytes - 1) >> 9U) - (range.offset >> 9U);
  return kEntryCompressed | (more_sectors << x) | range.offset;
}

constexpr ClusterKind kind_with_subclusters(const EntryFormat& format, const L2Entry& entry) {
  if ((entry.allocated_subclusters() & entry.zero_subclusters()) != 0) {
    return ClusterKind::kInvalid;
  }
  const bool has_host = entry.host_offset() != 0 || (format.has_data_file && entry.is_copied());
  if (entry.allocated_subclusters() != 0) {
    return has_host ? ClusterKind::kData : ClusterKind::kInvalid;
  }
  if (entry.zero_subclusters() == UINT32_MAX) {
    return has_host ? ClusterKind::kZeroesAllocated : ClusterKind::kZeroes;
  }
  // Mixed, or a reserved cluster of which nothing is in use.
  return has_host || entry.zero_subclusters() != 0 ? ClusterKind::kData : ClusterKind::kUnallocated;
}

constexpr ClusterKind kind_of(const EntryFormat& format, const L2Entry& entry) {
  if ((entry.descriptor & kEntryCompressed) != 0) {
    const bool is_out_of_reach = compressed_range(format, entry.descriptor).offset >= kMaxHostOffset;
    const bool has_bitmap = format.has_subclusters && entry.bitmap != 0;
    return entry.is_copied() || is_out_of_reach || format.has_data_file || has_bitmap
               ? ClusterKind::kInvalid
               : ClusterKind::kCompressed;
  }
  const uint64_t allowed =
      kEntryOffsetMask | kEntryCopied | (format.has_zero_flag && !format.has_subclusters ? kEntryZero : 0);
  if ((entry.descriptor & ~allowed) != 0 || (entry.host_offset() & (format.cluster_bytes() - 1)) != 0) {
    return ClusterKind::kInvalid;
  }
  if (format.has_subclusters) {
    return kind_with_subclusters(format, entry);
  }
  const bool has_host = entry.host_offset() != 0 || (format.has_data_file && entry.is_copied());
  if ((entry.descriptor & kEntryZero) != 0) {
    return has_host ? ClusterKind::kZeroesAllocated : ClusterKind::kZeroes;
  }
  return has_host ? ClusterKind::kData : ClusterKind::kUnallocated;
}

// An L1 entry or a refcount table entry with bits that must be zero, or an offset inside a cluster.
constexpr bool is_bad_l1_entry(const EntryFormat& format, uint64_t entry) {
  return (entry & ~(kEntryOffsetMask | kEntryCopied)) != 0 ||
         (entry & kEntryOffsetMask & (format.cluster_bytes() - 1)) != 0;
}
constexpr bool is_bad_refcount_table_entry(const EntryFormat& format, uint64_t entry) {
  return (entry & (format.cluster_bytes() - 1)) != 0 || entry >= kMaxHostOffset;
}

// --- Refcount block entries: 2^order bits wide, order 0 to 6 ---

constexpr uint64_t max_refcount(uint32_t order) {
  return order == 6 ? UINT64_MAX : (uint64_t{1} << (1U << order)) - 1;
}

// Entry `index` of the block (or slice of a block) at `bytes`.
constexpr uint64_t load_refcount(const std::byte* bytes, uint64_t index, uint32_t order) {
  if (order < 3) {
    // "bit 0 means the least significant bit in this context".
    const uint32_t per_byte = 8U >> order;
    const auto shift = static_cast<uint32_t>(index % per_byte) << order;
    return (std::to_integer<uint32_t>(bytes[index / per_byte]) >> shift) & max_refcount(order);
  }
  const uint32_t width = 1U << (order - 3);
  uint64_t value = 0;
  for (uint32_t i = 0; i < width; ++i) {
    value = (value << 8U) | std::to_integer<uint64_t>(bytes[index * width + i]);
  }
  return value;
}

// REQUIRES: value <= max_refcount(order).
constexpr void store_refcount(std::byte* bytes, uint64_t index, uint32_t order, uint64_t value) {
  if (order < 3) {
    const uint32_t per_byte = 8U >> order;
    const auto shift = static_cast<uint32_t>(index % per_byte) << order;
    const auto mask = static_cast<uint32_t>(max_refcount(order)) << shift;
    std::byte& byte = bytes[index / per_byte];
    byte = static_cast<std::byte>((std::to_integer<uint32_t>(byte) & ~mask) |
                                  (static_cast<uint32_t>(value) << shift));
    return;
  }
  const uint32_t width = 1U << (order - 3);
  for (uint32_t i = 0; i < width; ++i) {
    bytes[index * width + i] = static_cast<std::byte>(value >> (8 * (width - 1 - i)));
  }
}

}  // namespace vmm::block::qcow2
