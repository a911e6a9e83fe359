// Internal snapshots of an image that is not in use: made, applied, deleted.
//
// Standard: QEMU's docs/interop/qcow2, "Snapshots". A snapshot is an L1 table of its own: it shares its L2
// tables and clusters with the disk and with other snapshots, which the refcounts tell. VM state that others
// saved lies past the end of the disk in a snapshot's L1 table, and stays.
//
// Each change is that of a MetadataChange: whatever crash interrupts it, in version 2 or 3, the image has no
// errors, and the disk and the snapshots are all old or all new. `header` follows. Errors name the image and
// the snapshot; nothing has changed then, but that parts of free clusters may have been written to. Blocks;
// under the image's lock for writing; REQUIRES: prepare_for_maintenance().
#pragma once

#include <cstdint>
#include <string>

#include "block/disk_options.h"
#include "block/qcow2/header.h"
#include "block/qcow2/snapshot_table.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

constexpr size_t kMaxSnapshotNameBytes = 255;  // QEMU's

struct NewSnapshot {
  std::string name;  // others may have the same
  uint32_t date_seconds = 0;
  uint32_t date_nanoseconds = 0;
};

// Its ID is one more than the highest.
Status create_snapshot(SyncFile& file, Header& header, const NewSnapshot& wanted);

// The disk becomes what it was, its size too. What it is now is lost, unless another snapshot has it.
// Refused where the image has dirty bitmaps, which would not tell of the change. `which`: an ID, or a name.
Status apply_snapshot(SyncFile& file, Header& header, const std::string& which);

// `which`: a name, or an ID. The first of several with the same name.
Status delete_snapshot(SyncFile& file, Header& header, const std::string& which);

// For who only reads: `header` becomes that of the disk as it was in the snapshot, with its size (or not:
// keeps_size). Nothing is written; none of the above is REQUIRED. Errors: there is no such snapshot, or it is
// not valid.
Status show_snapshot(SyncFile& file, Header& header, const SnapshotChoice& which);

}  // namespace vmm::block::qcow2
