// Emptying an image that is not in use: its disk becomes what it stands on, or zeroes.
//
// A MetadataChange: whatever crash interrupts it, in version 2 or 3, the disk holds all that it held or
// nothing, and the image has no errors. Snapshots, dirty bitmaps and the disk's size stay.
#pragma once

#include "block/qcow2/header.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

// `header` follows. The file becomes as short as what is left in it; what an external data file holds is the
// caller's to give back. Errors name the image; nothing has changed then, but that parts of free clusters may
// have been written to. Blocks; under the image's lock for writing; REQUIRES: prepare_for_maintenance().
Status make_empty(SyncFile& file, Header& header);

// Its L1 table refers to nothing: no cluster of its disk has data, zeroes or space. Errors name the image.
Result<bool> is_empty(SyncFile& file, const Header& header);

}  // namespace vmm::block::qcow2
