// The boot catalogue of El Torito 1.0, section 2. Bounds and threads as iso_info.h.
#pragma once

#include <cstdint>

#include "block/iso/iso_info.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block {

// What is malformed is told in `problem`; errors are those of the file.
Result<IsoBootCatalogue> read_boot_catalogue(SyncFile& file, uint64_t file_bytes, uint32_t block);

}  // namespace vmm::block
