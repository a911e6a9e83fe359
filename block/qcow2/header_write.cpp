#include <algorithm>
#include <utility>

#include "block/qcow2/header.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

class HeaderWriter {
 public:
  explicit HeaderWriter(const Header& header) : header_(header) {}

  std::vector<std::byte> write() {
    write_fields();
    write_extensions();
    write_backing_name();
    return std::move(bytes_);
  }

  std::vector<std::byte> write_with_name_at(uint64_t name_offset) {
    write_fields();
    write_extensions();
    if (!header_.backing_file.empty()) {
      place_backing_name(name_offset);
    }
    return std::move(bytes_);
  }

 private:
  template <typename T>
  void put(T value) {
    bytes_.resize(bytes_.size() + sizeof(T));
    store_be<T>(bytes_.data() + bytes_.size() - sizeof(T), value);
  }

  void pad() { bytes_.resize(align_up(bytes_.size(), 8)); }

  void put_extension(uint32_t type, std::span<const std::byte> data) {
    put<uint32_t>(type);
    put<uint32_t>(static_cast<uint32_t>(data.size()));
    bytes_.insert(bytes_.end(), data.begin(), data.end());
    pad();
  }

  void write_fields() {
    put<uint32_t>(kMagic);
    put<uint32_t>(header_.version);
    put<uint64_t>(0);  // the backing name's place is not known yet
    put<uint32_t>(0);
    put<uint32_t>(header_.cluster_bits);
    put<uint64_t>(header_.size_bytes);
    put<uint32_t>(static_cast<uint32_t>(header_.crypt));
    put<uint32_t>(header_.l1_entries);
    put<uint64_t>(header_.l1_offset);
    put<uint64_t>(header_.refcount_table_offset);
    put<uint32_t>(header_.refcount_table_clusters);
    put<uint32_t>(header_.snapshot_count);
    put<uint64_t>(header_.snapshots_offset);
    if (header_.version < 3) {
      return;
    }
    put<uint64_t>(header_.incompatible);
    put<uint64_t>(header_.compatible);
    put<uint64_t>(header_.autoclear);
    put<uint32_t>(header_.refcount_order);
    put<uint32_t>(static_cast<uint32_t>(kKnownHeaderBytes + header_.more_fields.size()));
    put<uint8_t>(static_cast<uint8_t>(header_.compression));
    pad();
    bytes_.insert(bytes_.end(), header_.more_fields.begin(), header_.more_fields.end());
  }

  void write_extensions() {
    if (header_.backing_format) {
      put_extension(kExtensionBackingFormat, as_bytes(*header_.backing_format));
    }
    if (!header_.data_file.empty()) {
      put_extension(kExtensionDataFile, as_bytes(header_.data_file));
    }
    if (header_.crypto_header) {
      std::vector<std::byte> data(16);
      store_be<uint64_t>(data.data(), header_.crypto_header->offset);
      store_be<uint64_t>(data.data() + 8, header_.crypto_header->length);
      put_extension(kExtensionCryptoHeader, data);
    }
    if (header_.version >= 3 && !header_.feature_names.empty()) {
      write_feature_names();
    }
    if (header_.bitmaps) {
      std::vector<std::byte> data(24);
      store_be<uint32_t>(data.data(), header_.bitmaps->count);
      store_be<uint64_t>(data.data() + 8, header_.bitmaps->directory_bytes);
      store_be<uint64_t>(data.data() + 16, header_.bitmaps->directory_offset);
      put_extension(kExtensionBitmaps, data);
    }
    for (const UnknownExtension& extension : header_.unknown_extensions) {
      put_extension(extension.type, extension.bytes);
    }
    put_extension(kExtensionEnd, {});
  }

  void write_feature_names() {
    std::vector<std::byte> data;
    for (const FeatureName& feature : header_.feature_names) {
      data.push_back(static_cast<std::byte>(feature.type));
      data.push_back(static_cast<std::byte>(feature.bit));
      const auto name = as_bytes(feature.name).first(std::min(feature.name.size(), kFeatureNameBytes));
      data.insert(data.end(), name.begin(), name.end());
      data.resize(data.size() + kFeatureNameBytes - name.size());
    }
    put_extension(kExtensionFeatureNames, data);
  }

  void place_backing_name(uint64_t offset) {
    store_be<uint64_t>(bytes_.data() + 8, offset);
    store_be<uint32_t>(bytes_.data() + 16, static_cast<uint32_t>(header_.backing_file.size()));
  }

  void write_backing_name() {
    if (header_.backing_file.empty()) {
      return;
    }
    place_backing_name(bytes_.size());
    const auto name = as_bytes(header_.backing_file);
    bytes_.insert(bytes_.end(), name.begin(), name.end());
  }

  const Header& header_;
  std::vector<std::byte> bytes_;
};

}  // namespace

Result<std::vector<std::byte>> serialise_header(const Header& header, const std::string& path) {
  if (header.backing_file.size() > kMaxBackingNameBytes) {
    return fail("{}: the name of its backing file is {} bytes long; at most {} are possible", path,
                header.backing_file.size(), kMaxBackingNameBytes);
  }
  std::vector<std::byte> bytes = HeaderWriter(header).write();
  if (bytes.size() <= header.cluster_bytes()) {
    return bytes;
  }
  // Names of features are a courtesy: in tiny clusters there is no room for them.
  Header shorter = header;
  shorter.feature_names.clear();
  bytes = HeaderWriter(shorter).write();
  if (bytes.size() > header.cluster_bytes()) {
    return fail(
        "{}: its header of {} bytes does not fit a cluster of {}; use larger clusters or shorter names", path,
        bytes.size(), header.cluster_bytes());
  }
  return bytes;
}

std::vector<std::byte> serialise_short_header(const Header& header, uint64_t name_offset) {
  Header shorter = header;
  shorter.feature_names.clear();
  return HeaderWriter(shorter).write_with_name_at(name_offset);
}

std::vector<FeatureName> known_feature_names() {
  return {{.type = 0, .bit = 0, .name = "dirty bit"},
          {.type = 0, .bit = 1, .name = "corrupt bit"},
          {.type = 0, .bit = 2, .name = "external data file"},
          {.type = 0, .bit = 3, .name = "compression type"},
          {.type = 0, .bit = 4, .name = "extended L2 entries"},
          {.type = 1, .bit = 0, .name = "lazy refcounts"},
          {.type = 2, .bit = 0, .name = "bitmaps"},
          {.type = 2, .bit = 1, .name = "raw external data"}};
}

}  // namespace vmm::block::qcow2
