// Raw files copied by the host's kernel: their bytes never come here. Holes stay holes.
//
// Blocks its thread. Threads: functions without state. Errors name the target.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "vmm/base/error.h"

namespace vmm::block {

// The target shares the source's space until one of them is written to (ioctl_ficlone(2)). False: their file
// system has no such thing, or they lie on different ones; nothing has changed.
bool share_blocks(int from, int to);

struct FileRange {
  int fd = -1;
  uint64_t bytes = 0;
};

// What the source holds, to the target's bytes from `offset` on, which read as zeroes (copy_file_range(2)).
// False: the kernel cannot do that between these two; nothing has changed. `progress` gets the bytes of the
// source that are done.
Result<bool> copy_ranges(const FileRange& from, int to, uint64_t offset, const std::string& to_name,
                         const std::function<void(uint64_t done)>& progress);

}  // namespace vmm::block
