// An overlay is put on a running disk, whose image nobody writes to any more; and a running disk gets another
// size.
//
// Threads: make_snapshot_file() any, and blocks; the others are called within a task of the disk, and block.
#pragma once

#include <cstdint>
#include <string>

#include "block/live/live_disk.h"
#include "block/new_file.h"
#include "vmm/base/error.h"

namespace vmm::block {

// A new qcow2 image, durable and under its name, that stands on the disk's image. Errors: there is a file of
// that name; the disk is encrypted.
Status make_snapshot_file(const std::string& path, const DiskOptions& disk, uint64_t size_bytes);

// The guest writes to the image `path` from now on, and a mark on the one it wrote to names that
// (image_mark.h). Errors: it does not stand on the disk's image, or holds data of its own, which would show;
// it cannot be opened. The disk is as it was then.
Status put_on_snapshot(LiveDisk& disk, const std::string& path);

// Errors: it would become shorter; see resize.h. The disk is as it was then.
Status resize_live(LiveDisk& disk, uint64_t size_bytes);

// The image of these options, which is not in use, and before it those that were emptied and stand on it:
// what they show is as long as before, or longer. Where they are gone nobody needs them.
Status make_longer(const LiveDisk& disk, const DiskOptions& image, uint64_t size_bytes);

}  // namespace vmm::block
