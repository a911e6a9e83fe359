// MetadataMap: where an image's known metadata lie, so that nothing else is ever written there.
//
// Threads: the image's loop only.
#pragma once

#include <cstdint>
#include <vector>

#include "block/file_request.h"
#include "block/qcow2/entries.h"

namespace vmm::block::qcow2 {

class MetadataMap {
 public:
  // The tables outlive the map; it looks into them as they are. Clusters of tables that they point at are
  // found after note_table() was called for them.
  MetadataMap(uint32_t cluster_bits, const std::vector<uint64_t>& l1,
              const std::vector<uint64_t>& refcount_table);

  // Header, L1, refcount table, snapshot tables…: a range of whole clusters, known by a number of the
  // caller's.
  void set_range(uint32_t id, ByteRange range);
  // Two of the ranges share a byte: a damaged image.
  bool has_ranges_that_overlap() const;
  // Two of the tables that L1 and refcount table point at share a cluster, or one lies over a range.
  bool has_tables_that_overlap() const;
  // An L2 table or a refcount block.
  void note_table(uint64_t offset);

  // Any byte of [offset, offset + length) belongs to metadata.
  bool overlaps(uint64_t offset, uint64_t length) const;

  // The same for a write within one L2 table, or one refcount block: metadata of another kind.
  bool overlaps_other_than_l2(uint64_t offset, uint64_t length) const;
  bool overlaps_other_than_refcounts(uint64_t offset, uint64_t length) const;

  // False: the cluster never was an L2 table or a refcount block.
  bool may_be_table(uint64_t cluster) const;

 private:
  bool overlaps_range(uint64_t offset, uint64_t length) const;
  bool lie_over_ranges(const std::vector<uint64_t>& places) const;
  bool is_table(uint64_t cluster) const;
  size_t filter_bit(uint64_t cluster) const;

  uint32_t cluster_bits_;
  const std::vector<uint64_t>& l1_;
  const std::vector<uint64_t>& refcount_table_;
  std::vector<ByteRange> ranges_;
  // A bit for each table's cluster, by hash: where it is clear there is no table.
  std::vector<uint64_t> filter_;
};

}  // namespace vmm::block::qcow2
