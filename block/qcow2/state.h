// ImageState: what an open image's parts know together. Threads: the image's loop only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "block/host_file.h"
#include "block/image_format.h"
#include "block/qcow2/entries.h"
#include "block/qcow2/header.h"
#include "block/qcow2/metadata_map.h"
#include "block/sync_file.h"

namespace vmm::block::qcow2 {

struct ClusterRun {
  uint64_t first = 0;  // number of a host cluster
  uint64_t count = 0;
};

// How a step that may have to wait came out.
enum class Outcome : uint8_t {
  kReady,
  kWait,   // the waiter will be told; then try again
  kError,  // see the status that comes with it
};

// Ranges of the MetadataMap; those of snapshots come behind.
enum MetadataRange : uint32_t {
  kRangeHeader,
  kRangeL1,
  kRangeRefcountTable,
  kRangeSnapshotTable,
  kRangeBitmapDirectory,
  kRangeCryptoHeader,
  kRangeFirstSnapshotL1,
};

struct ImageState {
  ImageState(std::string image_path, Header image_header, std::vector<uint64_t> l1_table,
             std::vector<uint64_t> refcounts, HostFile& image_file)
      : path(std::move(image_path)),
        header(std::move(image_header)),
        format(header.entry_format()),
        l1(std::move(l1_table)),
        refcount_table(std::move(refcounts)),
        map(header.cluster_bits, l1, refcount_table),
        file(image_file) {}
  ImageState(const ImageState&) = delete;
  ImageState& operator=(const ImageState&) = delete;
  ~ImageState() = default;

  uint64_t cluster_bytes() const { return format.cluster_bytes(); }
  uint64_t cluster_of(uint64_t offset) const { return offset >> format.cluster_bits; }

  // The image contradicts itself: says so once. Where it may be written to, it is not any more, and its
  // corrupt bit is to be set.
  void mark_corrupt(std::string_view reason);

  // Clusters up to there are in use. Where extend_ahead is set and others write too, the file is made longer
  // before the write comes: a direct write past the end of a file keeps all others waiting. One that is alone
  // is quicker there than in a hole.
  void use_up_to(uint64_t end_bytes);
  // The file ends with its last cluster again.
  void cut_to_use();

  // Constant after construction.
  const std::string path;
  Header header;  // but for the place of the refcount table
  const EntryFormat format;

  std::vector<uint64_t> l1;              // entries in host order, as of now
  std::vector<uint64_t> refcount_table;  // the same
  MetadataMap map;
  HostFile& file;
  bool is_read_only = true;
  bool is_corrupt = false;
  bool wants_corrupt_bit = false;

  // Changed since the last commit began. Indexes may come more than once.
  std::vector<uint32_t> dirty_l1;
  std::vector<uint32_t> dirty_refcount_table;
  bool refcount_table_moved = false;
  // References that memory no longer has and the disk still does.
  std::vector<ClusterRun> dropped;
  TransferPeriods transfers;

  uint64_t used_end = 0;  // bytes; the file's size when it was opened, or more
  uint64_t file_end = 0;  // the same, or what lies ahead
  SyncFile* extend_ahead = nullptr;
};

}  // namespace vmm::block::qcow2
