// Header of a qcow2 image, versions 2 and 3, with its extensions: parsed into values that are valid.
//
// Standard: QEMU's docs/interop/qcow2, "Header" to "Full disk encryption header pointer". Pure functions, any
// thread. Errors name the file, the field and its offset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block/qcow2/entries.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

constexpr uint32_t kMagic = 0x514649fb;  // "QFI\xfb"
constexpr uint32_t kMinClusterBits = 9;
constexpr uint32_t kMaxClusterBits = 21;
constexpr uint32_t kMinClusterBitsWithSubclusters = 14;
// QEMU's limits, which bound what an image can make us allocate.
constexpr uint64_t kMaxL1Bytes = uint64_t{32} << 20U;
constexpr uint64_t kMaxRefcountTableBytes = uint64_t{8} << 20U;
constexpr uint32_t kMaxSnapshots = 65536;
constexpr uint64_t kMaxSnapshotTableBytes = uint64_t{64} << 20U;
constexpr uint32_t kMaxBackingNameBytes = 1023;
constexpr uint32_t kKnownHeaderBytes = 112;  // of version 3, with the compression type
constexpr size_t kFeatureNameBytes = 46;

constexpr uint64_t kIncompatibleDirty = 1U << 0U;
constexpr uint64_t kIncompatibleCorrupt = 1U << 1U;
constexpr uint64_t kIncompatibleDataFile = 1U << 2U;
constexpr uint64_t kIncompatibleCompressionType = 1U << 3U;
constexpr uint64_t kIncompatibleExtendedL2 = 1U << 4U;
constexpr uint64_t kKnownIncompatible = (1U << 5U) - 1;
constexpr uint64_t kCompatibleLazyRefcounts = 1U << 0U;
constexpr uint64_t kAutoclearBitmaps = 1U << 0U;
constexpr uint64_t kAutoclearRawDataFile = 1U << 1U;
constexpr uint64_t kKnownAutoclear = (1U << 2U) - 1;

// Header extensions.
constexpr uint32_t kExtensionEnd = 0;
constexpr uint32_t kExtensionBackingFormat = 0xe2792aca;
constexpr uint32_t kExtensionFeatureNames = 0x6803f857;
constexpr uint32_t kExtensionBitmaps = 0x23852875;
constexpr uint32_t kExtensionCryptoHeader = 0x0537be77;
constexpr uint32_t kExtensionDataFile = 0x44415441;

// Where fields lie that are changed in place.
constexpr uint64_t kL1SizeFieldOffset = 36;         // l1_size, l1_table_offset: 12 bytes
constexpr uint64_t kRefcountTableFieldOffset = 48;  // refcount_table_offset, _clusters: 12 bytes
constexpr uint64_t kSnapshotsFieldOffset = 60;      // nb_snapshots, snapshots_offset: 12 bytes
constexpr uint64_t kIncompatibleFieldOffset = 72;
constexpr uint64_t kCompatibleFieldOffset = 80;
constexpr uint64_t kAutoclearFieldOffset = 88;

enum class CryptMethod : uint8_t { kNone = 0, kAes = 1, kLuks = 2 };
enum class CompressionType : uint8_t { kZlib = 0, kZstd = 1 };

struct CryptoHeader {
  uint64_t offset = 0;  // in the file, a multiple of the cluster size
  uint64_t length = 0;
};

struct BitmapsExtension {
  uint32_t count = 0;
  uint64_t directory_bytes = 0;
  uint64_t directory_offset = 0;
  uint64_t place = 0;  // of these fields, in the file
};

struct FeatureName {
  uint8_t type = 0;  // 0 incompatible, 1 compatible, 2 autoclear
  uint8_t bit = 0;
  std::string name;
};

// Kept as it is when the header is written anew.
struct UnknownExtension {
  uint32_t type = 0;
  std::vector<std::byte> bytes;
};

struct Header {
  uint32_t version = 3;
  uint32_t cluster_bits = 16;
  uint64_t size_bytes = 0;
  CryptMethod crypt = CryptMethod::kNone;
  uint32_t l1_entries = 0;
  uint64_t l1_offset = 0;
  uint64_t refcount_table_offset = 0;
  uint32_t refcount_table_clusters = 0;
  uint32_t snapshot_count = 0;
  uint64_t snapshots_offset = 0;
  uint64_t incompatible = 0;
  uint64_t compatible = 0;
  uint64_t autoclear = 0;
  uint32_t refcount_order = 4;
  uint32_t header_bytes = 104;
  CompressionType compression = CompressionType::kZlib;
  std::vector<std::byte> more_fields;  // beyond those that we know

  std::string backing_file;  // empty: none
  std::optional<std::string> backing_format;
  std::string data_file;  // empty: not named
  std::optional<CryptoHeader> crypto_header;
  std::optional<BitmapsExtension> bitmaps;  // only while autoclear bit 0 says that they are consistent
  std::vector<FeatureName> feature_names;
  std::vector<UnknownExtension> unknown_extensions;

  uint64_t cluster_bytes() const { return uint64_t{1} << cluster_bits; }
  bool has(uint64_t incompatible_bit) const { return (incompatible & incompatible_bit) != 0; }
  bool has_backing_file() const { return !backing_file.empty(); }
  EntryFormat entry_format() const {
    return {.cluster_bits = cluster_bits,
            .has_zero_flag = version >= 3,
            .has_subclusters = has(kIncompatibleExtendedL2),
            .has_data_file = has(kIncompatibleDataFile)};
  }
  // Refcounts in one refcount block.
  uint64_t refcounts_per_block() const { return (cluster_bytes() * 8) >> refcount_order; }
  uint64_t l2_entries() const { return uint64_t{1} << entry_format().l2_bits(); }
  // L1 entries that the disk needs; further ones describe VM state.
  uint64_t l1_entries_of_disk() const { return l1_entries_for(size_bytes); }
  uint64_t l1_entries_for(uint64_t disk_bytes) const {
    const uint32_t bits = cluster_bits + entry_format().l2_bits();
    return (disk_bytes >> bits) + ((disk_bytes & ((uint64_t{1} << bits) - 1)) != 0 ? 1 : 0);
  }
};

// How much of the file parse_header() wants: the first cluster. `start`: the first 24 bytes or more of the
// file. Fails where they are no qcow2 header.
Result<uint64_t> header_area_bytes(std::span<const std::byte> start, const std::string& path);

// `area`: the first cluster of the file, or all of a shorter file. Incompatible bits that we do not know are
// refused by the names that the image has for them; everything in the header is within its range, aligned and
// of bounded size, but tables may still lie past the end of the file or over each other.
Result<Header> parse_header(std::span<const std::byte> area, const std::string& path);

// The header and its extensions, without padding to the end of the cluster. Fails where they do not fit the
// first cluster.
Result<std::vector<std::byte>> serialise_header(const Header& header, const std::string& path);

// Without the names of features, and with that of the backing file, if there is one, at this offset, where it
// is not written: of any length.
std::vector<std::byte> serialise_short_header(const Header& header, uint64_t name_offset);

// The names of the features that we know, as QEMU writes them into new images.
std::vector<FeatureName> known_feature_names();

}  // namespace vmm::block::qcow2
