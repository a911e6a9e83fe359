// open_chain: opens an image and all that it stands on. Part of the gate in open.h.
#pragma once

#include <cstdint>
#include <memory>

#include "block/block_device.h"
#include "block/disk_options.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"

namespace vmm::block {

// More layers than that are a mistake, or an attack.
constexpr size_t kMaxChainLayers = 200;

// Any format; for a raw image alone open_disk() has a shorter way. Backing files are opened read-only. Errors
// name the whole chain down to the file that they are about. Blocks. Threads: as open_disk().
Result<std::unique_ptr<BlockDevice>> open_chain(EventLoop& loop, const DiskOptions& options);

}  // namespace vmm::block
