// The BlockMap of files and of chains of layers.
//
// See block_map.h for threads.
#pragma once

#include <cstdint>
#include <span>

#include "block/block_map.h"
#include "block/host_file.h"
#include "block/image_format.h"

namespace vmm::block {

// A disk whose bytes lie in the file as they are.
BlockRun map_file(const HostFile& file, FileOffset offset, uint64_t length);

// Overlay first; not empty. Below the last layer, and past the end of a layer shorter than the one above it,
// nothing is present.
BlockRun map_chain(std::span<ImageFormat* const> layers, DiskOffset offset, uint64_t length, Waiter& waiter);

}  // namespace vmm::block
