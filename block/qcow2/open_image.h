// What is done to a qcow2 image before it is written to for the first time. Blocks; under the image's lock.
#pragma once

#include "block/qcow2/header.h"
#include "block/qcow2/state.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

// Of the autoclear bits, those that are not known, for who changes anything in an image: what they stand for
// may not be true afterwards. `header` follows. Flushed.
Status clear_unknown_autoclear(SyncFile& file, Header& header);

// Refuses what is marked as corrupt: nothing is written to it.
Status refuse_corrupt(const SyncFile& file, const Header& header);

// Refuses corrupt images, repairs dirty ones, and clears autoclear bits that are not known. `header` follows.
// For changes of the metadata that leave the disk's contents as they are.
Status prepare_for_maintenance(SyncFile& file, Header& header);

// The same, and marks dirty bitmaps that ought to track writes as inconsistent.
Status prepare_for_writing(SyncFile& file, Header& header);

// The ranges of the metadata that nothing else may be written to.
Status note_metadata(SyncFile& file, ImageState& state);

// Writes the header and its extensions anew, into the first cluster.
Status write_header(SyncFile& file, const Header& header);

}  // namespace vmm::block::qcow2
