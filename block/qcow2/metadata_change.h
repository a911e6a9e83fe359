// MetadataChange: new tables of an image beside the old ones, taken into use all at once. What snapshots and
// resizing are made of. The image is not in use; blocks; any thread.
//
// A cluster's refcount and the copied flags that must agree with it lie far apart: changed in place, there is
// always a moment at which a crash leaves an image with errors, and version 2 has no dirty bit to tell of it.
// So nothing that the image refers to is written over. Changed L2 tables, L1 tables, the snapshot table,
// refcount blocks and the refcount table are written to clusters that are free; when they are durable, one
// write changes bytes 24 to 71 of the header (disk size, L1 table, refcount table, snapshot table), in
// version 3 to 95 (feature bits), which lie in one sector, and that is made durable. Then the clusters that
// were given up are given back to the host.
//
// So at every instant, in version 2 as in version 3, the image is the old one or the new one, whole, without
// errors and without leaks (as long as a sector is written whole or not at all): what an interrupted change
// has written lies in clusters that are free. The price: as many free clusters as there are tables to change,
// 1/8192 of the data with clusters of 64 KiB; they are free again when the next change needs some.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <unordered_map>
#include <vector>

#include "block/qcow2/entries.h"
#include "block/qcow2/header.h"
#include "block/qcow2/header_switch.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

class MetadataChange {
 public:
  // Fails where check() finds errors: refcounts that are too small would be taken for free clusters. Leaks
  // stay as they are.
  static Result<MetadataChange> begin(SyncFile& file, const Header& header);

  // --- References to clusters, as they are to be. Fail where a refcount would not fit its width. ---

  // Of each cluster that [offset, offset + bytes) touches.
  Status refer(uint64_t offset, uint64_t bytes, int64_t times);
  // Of those that an L2 entry refers to.
  Status refer_entry(const L2Entry& entry, int64_t times);
  // Of all L2 tables of an L1 table, and of all that they refer to.
  Status refer_tree(std::span<const uint64_t> l1, int64_t times);

  bool has_changes() const { return !unplaced_.empty(); }

  // Refcount blocks in which nothing is counted are given up. REQUIRES: nothing has been changed yet.
  Status drop_unused_blocks();

  // --- New tables ---

  // Free clusters in a row, with this refcount; gives the offset of the first. At least one.
  Result<uint64_t> allocate(uint64_t bytes, uint64_t refcount = 1);
  // The same behind everything that is in use or in the file.
  Result<uint64_t> allocate_at_end(uint64_t bytes);
  // No bytes lie nowhere, at offset 0.
  Result<uint64_t> write_new(std::span<const std::byte> bytes);
  Result<uint64_t> write_new_l1(std::span<const uint64_t> l1);

  // Calls change(index in the table, entry) for each entry of the L2 table, a table of zeroes where the L1
  // entry is 0; where one is changed, the L1 entry gets a table of its own.
  using EntryChange = std::function<Status(uint64_t index, L2Entry& entry)>;
  Status change_l2(uint64_t& l1_entry, const EntryChange& change);

  // Puts the copied flags of an active L1 table to be, and of its L2 tables, in agreement with the refcounts
  // to be, which are final but for those of tables. Tables that change get another place; `users`: so many
  // L1 tables to be are copies of this one and follow.
  Status settle_flags(std::vector<uint64_t>& l1, uint32_t users);

  // Writes it anew and gives the old one up; `header` follows.
  Status replace_l1(Header& header, std::span<const uint64_t> l1);

  // The new metadata become the image's. Of `header` what lies in those bytes is written; the refcount
  // table's place is filled in. With a HeaderSwitch all of the header is, by one write too.
  Status commit(Header& header, HeaderSwitch* whole = nullptr);

 private:
  struct Block {
    std::vector<std::byte> bytes;  // refcounts to be
    bool is_changed = false;
    uint64_t place = 0;  // in the file; 0: none yet
  };
  struct Run {
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };

  MetadataChange(SyncFile& file, const Header& header);

  Result<Block*> block_of(uint64_t cluster);
  Result<uint64_t> refcount(uint64_t cluster);
  Status add(uint64_t cluster, int64_t times);
  Result<bool> was_free(uint64_t cluster);
  Status read_l2(uint64_t offset);
  L2Entry l2_entry(uint64_t index) const;
  void store_l2_entry(uint64_t index, const L2Entry& entry);
  Result<bool> settle_l2();
  Status place_refcounts(Header& header);
  Status place_blocks();
  Status write_refcounts(const Header& header);
  Result<std::vector<Run>> given_up();

  SyncFile* file_;
  Header header_;  // as it was
  EntryFormat format_;
  uint64_t file_bytes_ = 0;
  std::vector<uint64_t> refcount_table_;  // as it was, but for blocks in which nothing was counted

  std::unordered_map<uint64_t, Block> blocks_;
  std::vector<uint64_t> unplaced_;  // numbers of blocks that have changed
  uint64_t last_index_ = UINT64_MAX;
  Block* last_block_ = nullptr;
  uint64_t used_blocks_ = 0;  // above all of them

  uint64_t next_free_ = 1;  // clusters below are taken, or too few in a row
  uint64_t scanned_index_ = UINT64_MAX;
  std::vector<std::byte> scanned_;
  std::vector<std::byte> l2_;
};

}  // namespace vmm::block::qcow2
