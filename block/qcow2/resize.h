// Another size for a disk in a qcow2 image that is not in use.
//
// Growing has three steps, so that what becomes visible is zeroes, whatever the backing file or the disk's
// last cluster has there: begin_growing() makes the L1 table long enough; then the caller zeroes the range
// that zeroes_needed() tells, with a Writer for which the disk has its new size already; finish_growing()
// writes that size. Until then the disk is as it was: what lies past its end is nobody's, and no error.
// Shrinking is one step.
//
// Each step is a MetadataChange or one write to the header: a crash leaves the old size or the new one, and
// no errors, in version 2 and 3. Dirty bitmaps follow with the size. `header` follows; after an error it is
// to be read again. Blocks; under the image's lock for writing; REQUIRES: prepare_for_maintenance().
#pragma once

#include <cstdint>
#include <optional>

#include "block/qcow2/create.h"
#include "block/qcow2/header.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

// Refuses by name what cannot be resized: images of version 2 with internal snapshots, which need not say of
// what size their disk is; dirty bitmaps that would become too large; sizes that are no multiple of 512 or
// need larger clusters.
Status check_resize(SyncFile& file, const Header& header, uint64_t size_bytes);

// With preallocation the new part's clusters get their places, behind the end of the file, which has the
// space that they take with kFalloc, and zeroes there with kFull. An external data file is the caller's to
// extend. REQUIRES: check_resize(); the disk is not to become shorter.
Status begin_growing(SyncFile& file, Header& header, uint64_t size_bytes, Preallocation preallocation);

struct DiskRange {
  uint64_t offset = 0;  // bytes of the disk
  uint64_t bytes = 0;
};
// What would not read as zeroes when the disk has grown, or nothing. `backing_bytes`: how long the disk is
// that it stands on, 0 without one.
std::optional<DiskRange> zeroes_needed(const Header& header, uint64_t size_bytes, uint64_t backing_bytes,
                                       Preallocation preallocation);

Status finish_growing(SyncFile& file, Header& header, uint64_t size_bytes);

// What lies past the new end is given back; snapshots keep theirs. REQUIRES: check_resize(); the disk is not
// to become longer.
Status shrink(SyncFile& file, Header& header, uint64_t size_bytes);

}  // namespace vmm::block::qcow2
