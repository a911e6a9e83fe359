// Whether a directory carries Rock Ridge (SUSP 1.12, RRIP 1.12). Bounds and threads as iso_info.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block {

// `root`: the first block of the root directory. block_bytes: of the volume. Errors are those of the file.
Result<bool> has_rock_ridge(SyncFile& file, std::span<const std::byte> root, uint32_t block_bytes);

}  // namespace vmm::block
