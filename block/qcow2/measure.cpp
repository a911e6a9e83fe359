#include "block/qcow2/measure.h"

#include "block/qcow2/bitmaps.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow2 {
namespace {

// Of all tables that count references: each table and block is counted too.
uint64_t refcount_clusters(const Header& header, uint64_t clusters) {
  const uint64_t entries_per_cluster = header.cluster_bytes() / sizeof(uint64_t);
  uint64_t own = 0;
  while (true) {
    const uint64_t blocks = divide_up(clusters + own, header.refcounts_per_block());
    const uint64_t all = blocks + divide_up(blocks, entries_per_cluster);
    if (all == own) {
      return own;
    }
    own = all;
  }
}

Status check_measurable(const Header& header, uint64_t size_bytes) {
  if (size_bytes > INT64_MAX || header.l1_entries_for(size_bytes) > kMaxL1Bytes / sizeof(uint64_t)) {
    return fail_configuration("a disk of {} bytes is too large for clusters of {} bytes; use larger clusters",
                              size_bytes, header.cluster_bytes());
  }
  return {};
}

}  // namespace

Result<Measure> measure_image(const CreateOptions& options, uint64_t data_bytes, uint64_t crypto_bytes) {
  Header header;
  header.cluster_bits = options.cluster_bits;
  header.refcount_order = options.refcount_order;
  header.incompatible = options.extended_l2 ? kIncompatibleExtendedL2 : 0;
  VMM_TRY(check_measurable(header, options.size_bytes));
  const uint64_t cluster_bytes = header.cluster_bytes();
  const uint64_t disk_clusters = divide_up(options.size_bytes, cluster_bytes);
  const uint64_t l2_clusters = divide_up(disk_clusters, header.l2_entries());
  const uint64_t l1_clusters = divide_up(l2_clusters * sizeof(uint64_t), cluster_bytes);
  const uint64_t clusters = 1 + l1_clusters + l2_clusters + disk_clusters;
  Measure measure;
  measure.fully_allocated = (clusters + refcount_clusters(header, clusters)) * cluster_bytes +
                            align_up(crypto_bytes, cluster_bytes);
  const bool is_full =
      options.preallocation == Preallocation::kFull || options.preallocation == Preallocation::kFalloc;
  const uint64_t disk_bytes = disk_clusters * cluster_bytes;
  measure.required = measure.fully_allocated - disk_bytes + (is_full ? disk_bytes : data_bytes);
  return measure;
}

Result<uint64_t> measure_bitmaps(SyncFile& file, const Header& header, uint32_t cluster_bits) {
  const uint64_t cluster_bytes = uint64_t{1} << cluster_bits;
  uint64_t bytes = 0;
  uint64_t directory_bytes = 0;
  VMM_TRY(visit_bitmaps(file, header, [&](const Bitmap& bitmap) -> Status {
    const uint64_t bits = divide_up(header.size_bytes, uint64_t{1} << bitmap.granularity_bits);
    const uint64_t clusters = divide_up(bits, cluster_bytes * 8);
    bytes += clusters * cluster_bytes + align_up(clusters * sizeof(uint64_t), cluster_bytes);
    directory_bytes += align_up(kBitmapEntryBytes + bitmap.name.size(), 8);
    return {};
  }));
  return bytes + align_up(directory_bytes, cluster_bytes);
}

}  // namespace vmm::block::qcow2
