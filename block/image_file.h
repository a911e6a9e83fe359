// ImageFile: an image file or block device as the host gives it: opened, locked, measured.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "block/disk_options.h"
#include "block/host_file.h"
#include "vmm/base/error.h"

namespace vmm::block {

struct ImageFile {
  HostFile::Files files;
  HostFile::Geometry geometry;
  uint64_t size_bytes = 0;
  BlockLimits limits;
};

// As it is now, without opening it.
Result<FileState> state_of_file(const std::string& path);

// Opens what options.path names as options say; size and contents are not judged. Never creates or changes
// anything.
Result<ImageFile> open_image_file(const DiskOptions& options);

// The same of an overlay, with the page cache and without a lock.
Result<ImageFile> open_overlay(const OverlayFile& overlay);

}  // namespace vmm::block
