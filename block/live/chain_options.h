// What a chain is opened with, after some of its images have changed places; and what is told to those who
// open them later.
//
// Threads: values; but name_backing() and those of marks block.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "block/backing_name.h"
#include "block/disk_layer.h"
#include "block/disk_options.h"
#include "block/image_mark.h"
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

// The qcow2 image `path`, which is not in use, has no data of its own: its disk is what it stands on, which
// is the value; with a format if the image names one. An error: it has some.
Result<std::optional<BackingName>> expect_empty(const std::string& path);

// See image_mark.h. What hinders it is told in the log, and is no failure: it is a matter of what is named at
// the next start.
void mark_or_warn(const std::string& image, ImageMark mark, const std::string& other);
void unmark_or_warn(const std::string& image, ImageMark mark);
// The layers from `first` to the one above `end` are about to go from under the image `above`, which will
// stand on `end`, if there is such a layer. Each that has newer data above it names `above` from now on, so
// that nobody needs those between.
void mark_skipped(const std::vector<DiskLayer>& layers, size_t first, size_t end, const std::string& above);

}  // namespace vmm::block
