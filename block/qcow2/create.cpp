#include "block/qcow2/create.h"

#include <algorithm>
#include <utility>

#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

// Host clusters in the order of the file.
struct Layout {
  uint64_t refcount_table = 1;
  uint64_t refcount_table_clusters = 1;
  uint64_t refcount_blocks = 0;
  uint64_t refcount_block_clusters = 0;
  uint64_t l1 = 0;
  uint64_t crypto = 0;
  uint64_t l2 = 0;
  uint64_t l2_clusters = 0;
  uint64_t data = 0;
  uint64_t end = 0;
};

Header header_of(const CreateOptions& options) {
  Header header;
  header.version = options.version;
  header.cluster_bits = options.cluster_bits;
  header.size_bytes = options.size_bytes;
  header.refcount_order = options.refcount_order;
  header.crypt = options.crypt;
  header.compression = options.compression;
  header.backing_file = options.backing_file;
  header.backing_format = options.backing_format;
  header.data_file = options.data_file;
  header.incompatible = (options.data_file.empty() ? 0 : kIncompatibleDataFile) |
                        (options.compression == CompressionType::kZlib ? 0 : kIncompatibleCompressionType) |
                        (options.extended_l2 ? kIncompatibleExtendedL2 : 0);
  header.compatible = options.lazy_refcounts ? kCompatibleLazyRefcounts : 0;
  header.autoclear = options.data_file_raw ? kAutoclearRawDataFile : 0;
  header.l1_entries = static_cast<uint32_t>(std::max<uint64_t>(header.l1_entries_of_disk(), 1));
  if (options.version >= 3) {
    header.feature_names = known_feature_names();
  }
  return header;
}

Status check_options(const CreateOptions& options, const std::string& path) {
  if (options.cluster_bits < kMinClusterBits || options.cluster_bits > kMaxClusterBits) {
    return fail("{}: clusters are 512 bytes to 2 MiB large", path);
  }
  if (options.version == 2 && (options.refcount_order != 4 || options.lazy_refcounts || options.extended_l2 ||
                               !options.data_file.empty() || options.compression != CompressionType::kZlib)) {
    return fail(
        "{}: version 2 (compat=0.10) has none of refcount_bits, lazy_refcounts, extended_l2, data_file, "
        "compression_type; use version 3",
        path);
  }
  if (options.refcount_order > 6) {
    return fail("{}: refcounts are 1 to 64 bits wide", path);
  }
  if (options.extended_l2 && options.cluster_bits < kMinClusterBitsWithSubclusters) {
    return fail("{}: extended L2 entries need clusters of 16 KiB or more", path);
  }
  if (options.data_file_raw && (options.data_file.empty() || !options.backing_file.empty())) {
    return fail("{}: data_file_raw needs a data file, and no backing file", path);
  }
  if (options.crypt != CryptMethod::kNone && options.version == 2 &&
      options.preallocation != Preallocation::kOff) {
    return fail("{}: what is preallocated in an encrypted image must read as zeroes; that needs version 3",
                path);
  }
  if (!options.backing_file.empty() && options.preallocation != Preallocation::kOff && !options.extended_l2) {
    return fail("{}: preallocation would hide the backing file; use one of them", path);
  }
  return {};
}

Result<Layout> layout_of(const CreateOptions& options, const Header& header, const std::string& path) {
  const uint64_t cluster_bytes = header.cluster_bytes();
  if (header.l1_entries > kMaxL1Bytes / sizeof(uint64_t) || header.l1_entries_of_disk() > kMaxL1Bytes / 8) {
    return fail("{}: a disk of {} bytes needs larger clusters than {} bytes", path, options.size_bytes,
                cluster_bytes);
  }
  Layout layout;
  const bool is_preallocated = options.preallocation != Preallocation::kOff;
  layout.l2_clusters = is_preallocated ? header.l1_entries_of_disk() : 0;
  const uint64_t data =
      is_preallocated && options.data_file.empty() ? divide_up(options.size_bytes, cluster_bytes) : 0;
  const uint64_t l1_clusters = divide_up(uint64_t{header.l1_entries} * sizeof(uint64_t), cluster_bytes);
  const uint64_t crypto_clusters = divide_up(options.crypto_header.size(), cluster_bytes);
  const uint64_t others = 1 + l1_clusters + crypto_clusters + layout.l2_clusters + data;
  while (true) {
    const uint64_t all = others + layout.refcount_table_clusters + layout.refcount_block_clusters;
    const uint64_t blocks = divide_up(all, header.refcounts_per_block());
    const uint64_t table = divide_up(blocks * sizeof(uint64_t), cluster_bytes);
    if (blocks <= layout.refcount_block_clusters && table <= layout.refcount_table_clusters) {
      break;
    }
    layout.refcount_block_clusters = std::max(blocks, layout.refcount_block_clusters);
    layout.refcount_table_clusters = std::max(table, layout.refcount_table_clusters);
  }
  if (layout.refcount_table_clusters * cluster_bytes > kMaxRefcountTableBytes) {
    return fail("{}: preallocating {} bytes needs larger clusters than {} bytes", path, options.size_bytes,
                cluster_bytes);
  }
  layout.refcount_blocks = layout.refcount_table + layout.refcount_table_clusters;
  layout.l1 = layout.refcount_blocks + layout.refcount_block_clusters;
  layout.crypto = layout.l1 + l1_clusters;
  layout.l2 = layout.crypto + crypto_clusters;
  layout.data = layout.l2 + layout.l2_clusters;
  layout.end = layout.data + data;
  return layout;
}

// Places that are given to the disk without being written.
bool shows_old_data(const CreateOptions& options, bool is_blank) {
  return !is_blank && options.preallocation == Preallocation::kMetadata && options.data_file.empty();
}

class Creator {
 public:
  Creator(SyncFile& file, const CreateOptions& options, Header header, const Layout& layout, bool is_blank)
      : file_(file),
        options_(options),
        header_(std::move(header)),
        layout_(layout),
        is_blank_(is_blank),
        cluster_(header_.cluster_bytes()) {}

  Status run() {
    header_.refcount_table_offset = layout_.refcount_table << header_.cluster_bits;
    header_.refcount_table_clusters = static_cast<uint32_t>(layout_.refcount_table_clusters);
    header_.l1_offset = layout_.l1 << header_.cluster_bits;
    if (!options_.crypto_header.empty()) {
      header_.crypto_header = CryptoHeader{.offset = layout_.crypto << header_.cluster_bits,
                                           .length = options_.crypto_header.size()};
    }
    VMM_ASSIGN_OR_RETURN(const auto header, serialise_header(header_, file_.path()));
    VMM_TRY(clear_old_data());
    VMM_TRY(file_.resize(layout_.end << header_.cluster_bits));
    if (options_.preallocation == Preallocation::kFalloc || options_.preallocation == Preallocation::kFull) {
      VMM_TRY(file_.allocate(FileOffset(layout_.data << header_.cluster_bits),
                             (layout_.end - layout_.data) << header_.cluster_bits,
                             options_.preallocation == Preallocation::kFull));
    }
    VMM_TRY(write_table(layout_.refcount_table, layout_.refcount_blocks, layout_.refcount_block_clusters, 0));
    VMM_TRY(write_refcounts());
    VMM_TRY(write_table(layout_.l1, layout_.l2, layout_.l2_clusters, kEntryCopied));
    VMM_TRY(file_.write(FileOffset(layout_.crypto << header_.cluster_bits), options_.crypto_header));
    VMM_TRY(write_l2_tables());
    VMM_TRY(file_.sync());
    VMM_TRY(file_.write(FileOffset(0), header));
    return file_.sync();
  }

 private:
  // Tables are read to the end of their last cluster, and an old image must not show with parts of a new one.
  Status clear_old_data() {
    if (is_blank_) {
      return {};
    }
    VMM_TRY(clear(0, 1));
    VMM_TRY(file_.sync());
    VMM_TRY(clear(layout_.refcount_table, layout_.refcount_table_clusters));
    return clear(layout_.l1, layout_.l2 - layout_.l1);
  }

  Status clear(uint64_t first, uint64_t clusters) {
    return file_.allocate(FileOffset(first << header_.cluster_bits), clusters << header_.cluster_bits, true);
  }

  // Entries that point at clusters in a row.
  Status write_table(uint64_t at, uint64_t first, uint64_t count, uint64_t flags) {
    std::vector<std::byte> table(static_cast<size_t>(count * sizeof(uint64_t)));
    for (size_t i = 0; i < count; ++i) {
      store_be<uint64_t>(table.data() + i * sizeof(uint64_t), ((first + i) << header_.cluster_bits) | flags);
    }
    return file_.write(FileOffset(at << header_.cluster_bits), table);
  }

  Status write_refcounts() {
    const uint64_t per_block = header_.refcounts_per_block();
    for (uint64_t block = 0; block < layout_.refcount_block_clusters; ++block) {
      std::ranges::fill(cluster_, std::byte{0});
      const uint64_t first = block * per_block;
      for (uint64_t i = 0; i < per_block && first + i < layout_.end; ++i) {
        store_refcount(cluster_.data(), i, header_.refcount_order, 1);
      }
      VMM_TRY(file_.write(FileOffset((layout_.refcount_blocks + block) << header_.cluster_bits), cluster_));
    }
    return {};
  }

  L2Entry preallocated_entry(const EntryFormat& format, uint64_t host_offset) const {
    if (!header_.backing_file.empty()) {
      // With subclusters: the place is reserved, and none of them is in use.
      return {.descriptor = host_offset | kEntryCopied};
    }
    if (options_.crypt != CryptMethod::kNone || shows_old_data(options_, is_blank_)) {
      return zeroes_at(format, host_offset);
    }
    return {.descriptor = host_offset | kEntryCopied,
            .bitmap = format.has_subclusters ? subcluster_bitmap(UINT32_MAX, 0) : 0};
  }

  Status write_l2_tables() {
    const EntryFormat format = header_.entry_format();
    const uint64_t clusters = divide_up(header_.size_bytes, header_.cluster_bytes());
    uint64_t cluster = 0;
    for (uint64_t table = 0; table < layout_.l2_clusters; ++table) {
      std::ranges::fill(cluster_, std::byte{0});
      for (uint64_t i = 0; i < header_.l2_entries() && cluster < clusters; ++i, ++cluster) {
        const uint64_t place = format.has_data_file ? cluster : layout_.data + cluster;
        const L2Entry entry = preallocated_entry(format, place << header_.cluster_bits);
        std::byte* at = cluster_.data() + i * format.l2_entry_bytes();
        store_be<uint64_t>(at, entry.descriptor);
        if (format.has_subclusters) {
          store_be<uint64_t>(at + 8, entry.bitmap);
        }
      }
      VMM_TRY(file_.write(FileOffset((layout_.l2 + table) << header_.cluster_bits), cluster_));
    }
    return {};
  }

  SyncFile& file_;
  const CreateOptions& options_;
  Header header_;
  const Layout& layout_;
  bool is_blank_;
  std::vector<std::byte> cluster_;
};

}  // namespace

Status create(SyncFile& file, const CreateOptions& options) {
  VMM_TRY(check_options(options, file.path()));
  VMM_ASSIGN_OR_RETURN(const uint64_t old_bytes, file.size());
  const bool is_blank = old_bytes == 0;
  if (options.version == 2 && shows_old_data(options, is_blank)) {
    return fail(
        "{}: preallocation=metadata would show what is there already, which only version 3 (compat=1.1) can "
        "hide; use that, or preallocation=full",
        file.path());
  }
  Header header = header_of(options);
  VMM_ASSIGN_OR_RETURN(const Layout layout, layout_of(options, header, file.path()));
  return Creator(file, options, std::move(header), layout, is_blank).run();
}

Result<uint64_t> data_offset(const CreateOptions& options, const std::string& path) {
  VMM_TRY(check_options(options, path));
  VMM_ASSIGN_OR_RETURN(const Layout layout, layout_of(options, header_of(options), path));
  return layout.data << options.cluster_bits;
}

}  // namespace vmm::block::qcow2
