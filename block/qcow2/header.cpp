#include "block/qcow2/header.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

constexpr uint32_t kHeaderBytesV2 = 72;
constexpr uint32_t kHeaderBytesV3 = 104;
constexpr uint32_t kCompressionTypeOffset = 104;
constexpr size_t kFeatureNameEntryBytes = 48;
constexpr size_t kExtensionHeadBytes = 8;

class Parser {
 public:
  Parser(std::span<const std::byte> area, const std::string& path) : area_(area), path_(path) {}

  Result<Header> parse() {
    VMM_TRY(read_version_2_fields());
    VMM_TRY(read_version_3_fields());
    VMM_TRY(read_extensions());
    VMM_TRY(refuse_unknown_features());
    VMM_TRY(check_features());
    VMM_TRY(check_tables());
    VMM_TRY(read_backing_name());
    return std::move(header_);
  }

 private:
  template <typename T>
  T field(size_t offset) const {
    return load_be<T>(area_.data() + offset);
  }

  Status read_version_2_fields() {
    if (area_.size() < kHeaderBytesV2) {
      return fail("{}: the file ends inside its qcow2 header (after {} bytes); it is truncated", path_,
                  area_.size());
    }
    header_.version = field<uint32_t>(4);
    backing_offset_ = field<uint64_t>(8);
    backing_bytes_ = field<uint32_t>(16);
    header_.cluster_bits = field<uint32_t>(20);
    header_.size_bytes = field<uint64_t>(24);
    crypt_ = field<uint32_t>(32);
    header_.l1_entries = field<uint32_t>(36);
    header_.l1_offset = field<uint64_t>(40);
    header_.refcount_table_offset = field<uint64_t>(48);
    header_.refcount_table_clusters = field<uint32_t>(56);
    header_.snapshot_count = field<uint32_t>(60);
    header_.snapshots_offset = field<uint64_t>(64);
    if (header_.version != 2 && header_.version != 3) {
      return fail("{}: qcow2 version {} (header, byte 4) is not known; 2 and 3 are", path_, header_.version);
    }
    if (header_.cluster_bits < kMinClusterBits || header_.cluster_bits > kMaxClusterBits) {
      return fail("{}: cluster_bits {} (header, byte 20) is not between {} and {}", path_,
                  header_.cluster_bits, kMinClusterBits, kMaxClusterBits);
    }
    return {};
  }

  Status read_version_3_fields() {
    if (header_.version == 2) {
      header_.header_bytes = kHeaderBytesV2;
      return {};
    }
    if (area_.size() < kHeaderBytesV3) {
      return fail("{}: the file ends inside its qcow2 header (after {} bytes); it is truncated", path_,
                  area_.size());
    }
    header_.incompatible = field<uint64_t>(kIncompatibleFieldOffset);
    header_.compatible = field<uint64_t>(kCompatibleFieldOffset);
    header_.autoclear = field<uint64_t>(kAutoclearFieldOffset);
    header_.refcount_order = field<uint32_t>(96);
    header_.header_bytes = field<uint32_t>(100);
    if (header_.header_bytes < kHeaderBytesV3 || header_.header_bytes % 8 != 0 ||
        header_.header_bytes > header_.cluster_bytes()) {
      return fail(
          "{}: header_length {} (header, byte 100) is not a multiple of 8 between 104 and the cluster size",
          path_, header_.header_bytes);
    }
    if (header_.header_bytes > area_.size()) {
      return fail("{}: the file ends inside its qcow2 header (after {} bytes); it is truncated", path_,
                  area_.size());
    }
    if (header_.refcount_order > 6) {
      return fail("{}: refcount_order {} (header, byte 96) is above 6", path_, header_.refcount_order);
    }
    if (header_.header_bytes > kCompressionTypeOffset) {
      compression_ = field<uint8_t>(kCompressionTypeOffset);
    }
    if (header_.header_bytes > kKnownHeaderBytes) {
      const auto more = area_.subspan(kKnownHeaderBytes, header_.header_bytes - kKnownHeaderBytes);
      header_.more_fields.assign(more.begin(), more.end());
    }
    return {};
  }

  Status read_extensions() {
    // "the backing file name should be stored in the remaining space between the end of the header extension
    // area and the end of the first cluster"
    size_t end = std::min<size_t>(area_.size(), header_.cluster_bytes());
    if (backing_offset_ != 0 && backing_offset_ < end) {
      end = std::max<size_t>(backing_offset_, header_.header_bytes);
    }
    size_t offset = header_.header_bytes;
    while (offset + kExtensionHeadBytes <= end) {
      const auto type = field<uint32_t>(offset);
      const auto length = field<uint32_t>(offset + 4);
      if (type == kExtensionEnd) {
        return {};
      }
      offset += kExtensionHeadBytes;
      if (length > end - offset) {
        return fail(
            "{}: header extension {:#x} at byte {} is {} bytes long and does not fit the header cluster",
            path_, type, offset - kExtensionHeadBytes, length);
      }
      VMM_TRY(read_extension(type, area_.subspan(offset, length), offset - kExtensionHeadBytes));
      offset += align_up(length, 8);
    }
    return {};
  }

  Status read_extension(uint32_t type, std::span<const std::byte> data, size_t at) {
    switch (type) {
      case kExtensionBackingFormat:
        header_.backing_format = text(data);
        return {};
      case kExtensionDataFile:
        header_.data_file = text(data);
        return check_name(header_.data_file, "data file");
      case kExtensionFeatureNames:
        read_feature_names(data);
        return {};
      case kExtensionBitmaps:
        return read_bitmaps(data, at);
      case kExtensionCryptoHeader:
        return read_crypto_header(data, at);
      default:
        header_.unknown_extensions.push_back({.type = type, .bytes = {data.begin(), data.end()}});
        return {};
    }
  }

  static std::string text(std::span<const std::byte> bytes) {
    std::string result;
    std::ranges::transform(bytes, std::back_inserter(result),
                           [](std::byte byte) { return static_cast<char>(byte); });
    return result;
  }

  Status check_name(const std::string& name, std::string_view what) const {
    if (name.find('\0') != std::string::npos) {
      return fail("{}: the name of its {} contains a zero byte", path_, what);
    }
    return {};
  }

  void read_feature_names(std::span<const std::byte> data) {
    header_.feature_names.clear();
    for (size_t at = 0; at + kFeatureNameEntryBytes <= data.size(); at += kFeatureNameEntryBytes) {
      std::string name = text(data.subspan(at + 2, kFeatureNameBytes));
      name.resize(std::min(name.size(), name.find('\0')));
      header_.feature_names.push_back({.type = std::to_integer<uint8_t>(data[at]),
                                       .bit = std::to_integer<uint8_t>(data[at + 1]),
                                       .name = std::move(name)});
    }
  }

  Status read_bitmaps(std::span<const std::byte> data, size_t at) {
    if (data.size() < 24) {
      return fail("{}: the bitmaps extension at byte {} is {} bytes long, not 24", path_, at, data.size());
    }
    const BitmapsExtension bitmaps{.count = load_be<uint32_t>(data.data()),
                                   .directory_bytes = load_be<uint64_t>(data.data() + 8),
                                   .directory_offset = load_be<uint64_t>(data.data() + 16),
                                   .place = at + kExtensionHeadBytes};
    constexpr uint64_t kMaxDirectoryBytes = uint64_t{64} << 20U;
    if (bitmaps.count == 0 || bitmaps.directory_bytes == 0 || bitmaps.directory_bytes > kMaxDirectoryBytes ||
        !is_table_offset(bitmaps.directory_offset)) {
      return fail("{}: the bitmaps extension at byte {} is not valid", path_, at);
    }
    header_.bitmaps = bitmaps;
    return {};
  }

  Status read_crypto_header(std::span<const std::byte> data, size_t at) {
    if (data.size() < 16) {
      return fail("{}: the encryption header pointer at byte {} is {} bytes long, not 16", path_, at,
                  data.size());
    }
    const CryptoHeader crypto{.offset = load_be<uint64_t>(data.data()),
                              .length = load_be<uint64_t>(data.data() + 8)};
    constexpr uint64_t kMaxCryptoHeaderBytes = uint64_t{64} << 20U;
    if (!is_table_offset(crypto.offset) || crypto.length == 0 || crypto.length > kMaxCryptoHeaderBytes) {
      return fail("{}: the encryption header pointer at byte {} (offset {}, {} bytes) is not valid", path_,
                  at, crypto.offset, crypto.length);
    }
    header_.crypto_header = crypto;
    return {};
  }

  bool is_table_offset(uint64_t offset) const {
    return offset != 0 && offset % header_.cluster_bytes() == 0 && offset < kMaxHostOffset;
  }

  Status refuse_unknown_features() {
    const uint64_t unknown = header_.incompatible & ~kKnownIncompatible;
    if (unknown == 0) {
      return {};
    }
    std::string names;
    for (uint32_t bit = 0; bit < 64; ++bit) {
      if ((unknown >> bit & 1U) == 0) {
        continue;
      }
      const auto found = std::ranges::find_if(header_.feature_names, [bit](const FeatureName& feature) {
        return feature.type == 0 && feature.bit == bit && !feature.name.empty();
      });
      names += names.empty() ? "" : ", ";
      names += found == header_.feature_names.end() ? fmt::format("bit {}", bit)
                                                    : fmt::format("'{}' (bit {})", found->name, bit);
    }
    return fail("{}: needs features that are not known here: {}; open it with a program that knows them",
                path_, names);
  }

  Status check_features() {
    if (crypt_ > 2) {
      return fail("{}: crypt_method {} (header, byte 32) is not known; 0 (none), 1 (AES) and 2 (LUKS) are",
                  path_, crypt_);
    }
    header_.crypt = static_cast<CryptMethod>(crypt_);
    if ((header_.crypt == CryptMethod::kLuks) != header_.crypto_header.has_value()) {
      return fail("{}: is {}encrypted with LUKS, but has {} encryption header pointer", path_,
                  header_.crypt == CryptMethod::kLuks ? "" : "not ", header_.crypto_header ? "an" : "no");
    }
    if (header_.has(kIncompatibleCompressionType) != (compression_ != 0)) {
      return fail("{}: compression_type {} (header, byte 104) contradicts incompatible bit 3", path_,
                  compression_);
    }
    if (compression_ > 1) {
      return fail("{}: compression type {} (header, byte 104) is not known; 0 (zlib) and 1 (zstd) are", path_,
                  compression_);
    }
    header_.compression = static_cast<CompressionType>(compression_);
    if (header_.has(kIncompatibleExtendedL2) && header_.cluster_bits < kMinClusterBitsWithSubclusters) {
      return fail(
          "{}: extended L2 entries need clusters of 16 KiB or more; cluster_bits (header, byte 20) is {}",
          path_, header_.cluster_bits);
    }
    if (header_.has(kIncompatibleDataFile) && header_.snapshot_count != 0) {
      return fail("{}: has an external data file together with internal snapshots, which cannot be", path_);
    }
    if ((header_.autoclear & kAutoclearBitmaps) == 0) {
      // "must be considered inconsistent": others may have used their clusters for something else since.
      header_.bitmaps.reset();
    }
    if ((header_.autoclear & kAutoclearRawDataFile) != 0 && !header_.has(kIncompatibleDataFile)) {
      // The specification does not allow it; without a data file the bit says nothing.
      header_.autoclear &= ~kAutoclearRawDataFile;
    }
    return {};
  }

  Status check_tables() const {
    const uint64_t needed = header_.l1_entries_of_disk();
    if (needed > kMaxL1Bytes / 8) {
      return fail("{}: size {} (header, byte 24) is more than clusters of {} bytes can hold", path_,
                  header_.size_bytes, header_.cluster_bytes());
    }
    if (header_.l1_entries > kMaxL1Bytes / 8) {
      return fail("{}: l1_size {} (header, byte 36) is above {}", path_, header_.l1_entries, kMaxL1Bytes / 8);
    }
    if (header_.l1_entries < needed) {
      return fail("{}: l1_size {} (header, byte 36) is too small for a disk of {} bytes, which needs {}",
                  path_, header_.l1_entries, header_.size_bytes, needed);
    }
    if (header_.l1_entries != 0 && !is_table_offset(header_.l1_offset)) {
      return fail("{}: l1_table_offset {:#x} (header, byte 40) is not valid", path_, header_.l1_offset);
    }
    if (!is_table_offset(header_.refcount_table_offset)) {
      return fail("{}: refcount_table_offset {:#x} (header, byte 48) is not valid", path_,
                  header_.refcount_table_offset);
    }
    if (header_.refcount_table_clusters == 0 ||
        header_.refcount_table_clusters > kMaxRefcountTableBytes / header_.cluster_bytes()) {
      return fail("{}: refcount_table_clusters {} (header, byte 56) is not between 1 and {}", path_,
                  header_.refcount_table_clusters, kMaxRefcountTableBytes / header_.cluster_bytes());
    }
    if (header_.snapshot_count > kMaxSnapshots) {
      return fail("{}: nb_snapshots {} (header, byte 60) is above {}", path_, header_.snapshot_count,
                  kMaxSnapshots);
    }
    if (header_.snapshot_count != 0 && !is_table_offset(header_.snapshots_offset)) {
      return fail("{}: snapshots_offset {:#x} (header, byte 64) is not valid", path_,
                  header_.snapshots_offset);
    }
    return {};
  }

  Status read_backing_name() {
    if (backing_offset_ == 0) {
      return {};
    }
    const uint64_t end = std::min<uint64_t>(area_.size(), header_.cluster_bytes());
    if (backing_bytes_ == 0 || backing_bytes_ > kMaxBackingNameBytes ||
        backing_offset_ < header_.header_bytes || backing_offset_ > end ||
        backing_bytes_ > end - backing_offset_) {
      return fail(
          "{}: the name of the backing file (header, bytes 8 to 19: {} bytes at {:#x}) is not within the "
          "header cluster, or not 1 to {} bytes long",
          path_, backing_bytes_, backing_offset_, kMaxBackingNameBytes);
    }
    header_.backing_file = text(area_.subspan(backing_offset_, backing_bytes_));
    return check_name(header_.backing_file, "backing file");
  }

  std::span<const std::byte> area_;
  const std::string& path_;
  Header header_;
  uint64_t backing_offset_ = 0;
  uint32_t backing_bytes_ = 0;
  uint32_t crypt_ = 0;
  uint8_t compression_ = 0;
};

}  // namespace

Result<uint64_t> header_area_bytes(std::span<const std::byte> start, const std::string& path) {
  const auto magic = read_be_at<uint32_t>(start, 0);
  const auto cluster_bits = read_be_at<uint32_t>(start, 20);
  if (!magic || *magic != kMagic || !cluster_bits) {
    return fail("{} is no qcow2 image (its first bytes are not \"QFI\\xfb\"); name its true format", path);
  }
  if (*cluster_bits < kMinClusterBits || *cluster_bits > kMaxClusterBits) {
    return fail("{}: cluster_bits {} (header, byte 20) is not between {} and {}", path, *cluster_bits,
                kMinClusterBits, kMaxClusterBits);
  }
  return uint64_t{1} << *cluster_bits;
}

Result<Header> parse_header(std::span<const std::byte> area, const std::string& path) {
  VMM_TRY(header_area_bytes(area, path));
  return Parser(area, path).parse();
}

}  // namespace vmm::block::qcow2
