// open_disk: the one gate through which image files are opened.
//
// Errors are sentences that name the file and say what to do; on failure nothing has been created or changed,
// and no lock is held.
#pragma once

#include <memory>

#include "block/block_device.h"
#include "block/disk_options.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"

namespace vmm::block {

// The disk belongs to `loop` from then on (see block_device.h). Called on the loop's thread, or before the
// loop runs, on the thread that made it.
Result<std::unique_ptr<BlockDevice>> open_disk(EventLoop& loop, const DiskOptions& options);

// Runs the loop until nothing is in flight, as a disk must be before it is destroyed. False: `limit` passed
// first. REQUIRES: on the loop's thread, while run() is not running.
bool drain(EventLoop& loop, const BlockDevice& disk, EventLoop::Duration limit);

}  // namespace vmm::block
