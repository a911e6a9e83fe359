// The snapshot table of a qcow2 image.
//
// Standard: QEMU's docs/interop/qcow2, "Snapshots". Blocks; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "block/qcow2/header.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

struct Snapshot {
  uint64_t l1_offset = 0;
  uint32_t l1_entries = 0;
  std::string id;
  std::string name;
  uint32_t date_seconds = 0;
  uint32_t date_nanoseconds = 0;
  uint64_t guest_nanoseconds = 0;  // the guest had run so long
  uint64_t vm_state_bytes = 0;
  uint64_t disk_bytes = 0;
  std::vector<std::byte> more_extra;  // beyond what we know, kept
};

struct SnapshotTable {
  std::vector<Snapshot> snapshots;
  uint64_t bytes = 0;  // of the table in the file
};

Result<SnapshotTable> read_snapshot_table(SyncFile& file, const Header& header);
std::vector<std::byte> serialise_snapshot_table(const std::vector<Snapshot>& snapshots);

}  // namespace vmm::block::qcow2
