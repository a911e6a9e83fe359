// What a chain is opened with, after some of its images have changed places.
//
// Threads: values; name_backing() blocks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "block/disk_layer.h"
#include "block/disk_options.h"
#include "vmm/base/error.h"

namespace vmm::block {

// The layer `depth` is the disk's image.
DiskOptions options_of_layer(const DiskOptions& chain, const std::vector<DiskLayer>& layers, uint32_t depth);

// The layers from `first` to the one above `end` are gone. REQUIRES: 0 < first < end.
DiskOptions options_without(const DiskOptions& chain, uint32_t first, uint32_t end);

// Nothing below the layer `last` is left.
DiskOptions options_down_to(const DiskOptions& chain, uint32_t last);

// A new qcow2 image stands on what is there.
DiskOptions options_above(const DiskOptions& chain, const std::string& path);

// The qcow2 image `path`, which is not in use, stands on `backing` from now on; nullptr: on nothing. Durable.
Status name_backing(const std::string& path, const DiskLayer* backing);

}  // namespace vmm::block
