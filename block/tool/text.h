// Words of the tool: names of formats and cache modes.
//
// Threads: functions without state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "block/disk_options.h"
#include "vmm/base/error.h"
#include "vmm/base/size.h"

namespace vmm::block::tool {

// For disks that are read and written as guests see them: "raw", "qcow2".
Result<Format> disk_format(const std::string& name);

// "none", "writeback", "writethrough", "directsync", "unsafe".
Result<CacheMode> cache_mode(const std::string& name);
// The same for what must be flushed all the same: unsafe is writeback.
Result<CacheMode> safe_cache_mode(const std::string& name);

}  // namespace vmm::block::tool
