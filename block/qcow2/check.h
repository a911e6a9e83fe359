// check: whether a qcow2 image's tables agree with each other, as qemu-img check judges it, and their repair.
//
// Every reference to a host cluster is counted (active tables, snapshots, bitmaps, metadata) and compared
// with the refcounts. Bounded memory: refcounts are compared window by window. Blocks; any thread; the image
// is not in use.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "block/qcow2/header.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

struct CheckResult {
  uint64_t corruptions = 0;  // what can cost data: a refcount too small, an entry that is not valid
  uint64_t leaks = 0;        // clusters that nothing refers to, or less than their refcount says
  // The first of each, in words.
  std::vector<std::string> messages;

  uint64_t allocated_clusters = 0;  // of the disk
  uint64_t compressed_clusters = 0;
  uint64_t fragmented_clusters = 0;  // those that do not follow the one before in their table
  uint64_t total_clusters = 0;
  uint64_t image_end_offset = 0;  // the end of the last cluster in use, or leaked

  bool is_clean() const { return corruptions == 0 && leaks == 0; }
};

// Fails where the image cannot be judged: header or top tables that cannot be read.
Result<CheckResult> check(SyncFile& file, const Header& header);

enum class Repair : uint8_t { kLeaks, kAll };

// Puts right what check() would find: refcounts, and flags that follow from them; entries that are not valid
// stay, and are counted as corruptions in the result. Refcounts that lie where something else does, or have
// no place, are written anew, at the end of the file: kLeaks fails there, and changes nothing. Clears
// autoclear bits that are not known, the dirty bit, and with kAll and nothing left the corrupt bit. Flushed.
Result<CheckResult> repair(SyncFile& file, Header& header, Repair what);

}  // namespace vmm::block::qcow2
