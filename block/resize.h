// Another size for the disk in a raw or qcow2 image that is not in use.
//
// Crash-safe: the disk has its old size or the new one, and what is new reads as zeroes. Threads: one;
// blocks. Errors name the file; the disk is as it was then.
#pragma once

#include <cstdint>
#include <functional>

#include "block/disk_options.h"
#include "block/qcow2/create.h"
#include "vmm/base/error.h"

namespace vmm::block {

struct ResizeOptions {
  // Its path, format, passphrases, data files, and the format of its backing file where it says none.
  DiskOptions image;
  qcow2::Preallocation preallocation = qcow2::Preallocation::kOff;
  // From the present size, in bytes; an error where it is refused.
  std::function<Result<uint64_t>(uint64_t old_bytes)> wanted_bytes;
};

Status resize_image(const ResizeOptions& options);

}  // namespace vmm::block
