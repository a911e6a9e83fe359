// Refcounts of another width for an image that is not in use.
//
// All refcount blocks and their table are written anew behind the end of the file; one write of the header's
// first sector takes them into use. At every instant the image has the old ones or the new ones, all of them
// right. Leaks stay. Blocks; under the image's lock for writing; REQUIRES: prepare_for_maintenance().
#pragma once

#include "block/qcow2/header.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

// `now`: as `header`, but for refcount_order, the version and other fields that are told by the header alone.
// `header` follows. Fails, and nothing has changed, where a refcount does not fit its new width, or check()
// finds errors.
Status change_refcount_width(SyncFile& file, Header& header, Header now);

}  // namespace vmm::block::qcow2
