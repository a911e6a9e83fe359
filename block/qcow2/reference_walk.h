// ReferenceWalk: every reference that an image's metadata make to host clusters, told to a visitor. Part of
// check.
//
// An L2 table that several L1 tables share is read once. Bounded by the size of the file, whatever the tables
// say. Blocks; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "block/qcow2/header.h"
#include "block/qcow2/snapshot_table.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

class ReferenceVisitor {
 public:
  virtual ~ReferenceVisitor() = default;
  // `times` references to each cluster that [offset, offset + bytes) touches, which may lie past the end of
  // the file.
  virtual void refer(uint64_t offset, uint64_t bytes, uint32_t times, const char* what) = 0;
  // An L1 entry or a standard L2 entry of the active tables that points at the cluster at host_offset: true:
  // its copied flag is to be changed.
  virtual bool change_flag(uint64_t host_offset, bool is_copied, const char* what) = 0;
  // An entry that is not valid. What it may have referred to is told where its offset still says something.
  virtual void damage(const std::string& text) = 0;
  virtual void count_cluster(uint64_t host_offset, bool is_compressed) = 0;
  // The clusters that are counted next are those of another table.
  virtual void start_table() {}
};

class ReferenceWalk {
 public:
  // Reads L1 tables and snapshots. What is damaged is told to the visitor once, here.
  static Result<ReferenceWalk> prepare(SyncFile& file, const Header& header, ReferenceVisitor& visitor);

  struct Options {
    bool with_refcount_structures = true;
    bool with_damage = false;  // tells of entries that are not valid, and of the disk's clusters
    bool may_write = false;    // flags are changed where the visitor says so
  };
  Status run(ReferenceVisitor& visitor, const Options& options);

  const std::vector<uint64_t>& refcount_table() const { return refcount_table_; }

  struct Range {
    uint64_t offset = 0;
    uint64_t bytes = 0;
    const char* what = "";
  };
  // What has its clusters for itself: all metadata but L2 tables of snapshots and bitmaps' data. Each active
  // L2 table as often as the active L1 table has it.
  std::vector<Range> lone_ranges(bool with_refcount_structures) const;

 private:
  struct L2Reference {
    uint64_t offset = 0;
    uint32_t times = 0;
    uint32_t active_times = 0;  // of them, by the active L1 table

    bool is_active() const { return active_times > 0; }
  };

  ReferenceWalk(SyncFile& file, const Header& header) : file_(&file), header_(&header) {}
  Status read_top(ReferenceVisitor& visitor);
  Status add_l1(const std::vector<uint64_t>& l1, bool is_active, ReferenceVisitor& visitor);
  void merge_tables();
  Status add_snapshots(ReferenceVisitor& visitor);
  Status add_bitmaps(ReferenceVisitor& visitor);
  Status add_bitmap_table(uint64_t offset, uint32_t entries, ReferenceVisitor& visitor);
  Status walk_l1_flags(ReferenceVisitor& visitor, const Options& options);
  Status walk_l2(const L2Reference& reference, ReferenceVisitor& visitor, const Options& options);
  bool visit_entry(const L2Reference& reference, std::byte* bytes, ReferenceVisitor& visitor,
                   const Options& options);

  SyncFile* file_;
  const Header* header_;
  uint64_t file_bytes_ = 0;
  uint64_t l1_bytes_left_ = 0;
  std::vector<uint64_t> l1_;
  std::vector<uint64_t> refcount_table_;
  std::vector<Range> ranges_;
  std::vector<Range> bitmap_data_;
  std::vector<L2Reference> tables_;
  std::vector<std::byte> cluster_;
};

}  // namespace vmm::block::qcow2
