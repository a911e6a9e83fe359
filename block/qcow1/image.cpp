#include "block/qcow1/image.h"

#include <algorithm>
#include <utility>

#include "block/qcow2/image.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::block::qcow1 {
namespace {

constexpr uint64_t kCompressed = UINT64_C(1) << 63U;
constexpr uint64_t kCacheBytes = uint64_t{1} << 20U;

// Tables begin at a multiple of the cluster, so their slices are aligned if they are no longer than one.
uint32_t slice_bytes_of(const Header& header) {
  return static_cast<uint32_t>(std::min(header.l2_table_bytes(), header.cluster_bytes()));
}

bool can_follow(const Extent& first, const Extent& second) {
  if (first.kind != second.kind) {
    return false;
  }
  return first.kind == Extent::Kind::kBacking ||
         (first.kind == Extent::Kind::kData && first.offset.bytes() + first.length == second.offset.bytes());
}

}  // namespace

Cluster decode_entry(const Header& header, uint64_t entry) {
  Cluster cluster;
  if (entry == 0) {
    return cluster;
  }
  const uint64_t cluster_bytes = header.cluster_bytes();
  if ((entry & kCompressed) != 0) {
    const uint32_t offset_bits = 63 - header.cluster_bits;
    cluster.offset = entry & ((UINT64_C(1) << offset_bits) - 1);
    cluster.stored_bytes = (entry >> offset_bits) & (cluster_bytes - 1);
    cluster.kind = cluster.stored_bytes == 0 ? Cluster::Kind::kInvalid : Cluster::Kind::kCompressed;
    return cluster;
  }
  cluster.offset = entry;
  const bool is_possible = entry % kSectorBytes == 0 && entry <= INT64_MAX - cluster_bytes;
  cluster.kind = is_possible ? Cluster::Kind::kData : Cluster::Kind::kInvalid;
  return cluster;
}

Result<std::unique_ptr<Image>> Image::open(std::unique_ptr<HostFile> file, SyncFile& sync,
                                           const Header& header, std::unique_ptr<SectorCipher> cipher) {
  VMM_CHECK(header.is_encrypted == (cipher != nullptr), "a qcow image was opened without its cipher");
  VMM_ASSIGN_OR_RETURN(auto l1, qcow2::read_table(sync, header.l1_offset, header.l1_entries * 8));
  return std::unique_ptr<Image>(new Image(std::move(file), header, std::move(l1), std::move(cipher)));
}

Image::Image(std::unique_ptr<HostFile> file, const Header& header, std::vector<uint64_t> l1,
             std::unique_ptr<SectorCipher> cipher)
    : header_(header),
      l1_(std::move(l1)),
      file_(std::move(file)),
      cipher_(std::move(cipher)),
      decompressor_(make_deflate_decompressor()),
      tables_(*file_, slice_bytes_of(header), kCacheBytes / slice_bytes_of(header)) {}

Extent Image::map_read(DiskOffset offset, uint64_t length, Waiter& waiter) {
  const uint64_t cluster_bytes = header_.cluster_bytes();
  const uint64_t l2_index = (offset.bytes() >> header_.cluster_bits) & ((UINT64_C(1) << header_.l2_bits) - 1);
  const uint64_t l1_index = offset.bytes() >> (header_.cluster_bits + header_.l2_bits);
  VMM_CHECK(l1_index < l1_.size(), "an offset past the end of the disk");
  const uint64_t table_offset = l1_[l1_index];
  const uint64_t slice_bytes = tables_.slice_bytes();
  if (table_offset % slice_bytes != 0 || table_offset > INT64_MAX - header_.l2_table_bytes()) {
    return Extent::error(IoStatus::kIoError);
  }
  if (table_offset == 0) {
    const uint64_t covered = ((UINT64_C(1) << header_.l2_bits) - l2_index) * cluster_bytes;
    return Extent::backing(std::min(length, covered - (offset.bytes() & (cluster_bytes - 1))));
  }
  const uint64_t slice = table_offset + align_down(l2_index * 8, slice_bytes);
  const qcow2::TableCache::Table* table = tables_.find(slice);
  if (table == nullptr) {
    tables_.load(slice, waiter);
    return Extent::wait();
  }
  const std::byte* entry = table->bytes() + (l2_index * 8) % slice_bytes;
  const std::byte* const end = table->bytes() + slice_bytes;
  Extent total = cluster_extent(load_be<uint64_t>(entry), offset.bytes(), length);
  for (entry += 8; total.length < length && entry != end; entry += 8) {
    const Extent next =
        cluster_extent(load_be<uint64_t>(entry), offset.bytes() + total.length, length - total.length);
    if (!can_follow(total, next)) {
      break;
    }
    total.length += next.length;
  }
  return total;
}

// Within one cluster.
Extent Image::cluster_extent(uint64_t entry, uint64_t guest_offset, uint64_t length) const {
  const uint64_t offset_in_cluster = guest_offset & (header_.cluster_bytes() - 1);
  length = std::min(length, header_.cluster_bytes() - offset_in_cluster);
  const Cluster cluster = decode_entry(header_, entry);
  Extent extent{.length = length};
  extent.file = file_.get();
  switch (cluster.kind) {
    case Cluster::Kind::kBacking:
      return Extent::backing(length);
    case Cluster::Kind::kInvalid:
      return Extent::error(IoStatus::kIoError);
    case Cluster::Kind::kData:
      extent.kind = Extent::Kind::kData;
      extent.offset = FileOffset(cluster.offset + offset_in_cluster);
      return extent;
    case Cluster::Kind::kCompressed:
      break;
  }
  extent.kind = Extent::Kind::kCompressed;
  extent.offset = FileOffset(cluster.offset);
  extent.stored_bytes = cluster.stored_bytes;
  extent.cluster_bytes = header_.cluster_bytes();
  extent.offset_in_cluster = offset_in_cluster;
  return extent;
}

bool Image::decompress(std::span<const std::byte> stored, std::span<std::byte> cluster) {
  return decompressor_->run(stored, cluster);
}

}  // namespace vmm::block::qcow1
