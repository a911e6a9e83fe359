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

class ImageChain;

// The same of a chain whose layer `base_depth` (1: the image's backing file) is written to as well: it, with
// what it stands on, is a disk of its own (ImageChain::base()). Nobody else may use it. REQUIRES: the options
// are not read-only, and have no overlay. Errors: the chain has fewer layers; the base is of a format that is
// only read.
Result<std::unique_ptr<ImageChain>> open_chain_to_commit(EventLoop& loop, const DiskOptions& options,
                                                         uint32_t base_depth);

}  // namespace vmm::block
