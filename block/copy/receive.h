// Bytes that come through a pipe, or from a file that is open, into a file that has none yet.
//
// Blocks its thread. Threads: functions without state.
#pragma once

#include <cstdint>
#include <string>

#include "vmm/base/error.h"

namespace vmm::block {

// Until the end; gives how many there were. Zeroes of `hole_bytes` in a row (0: none) are left
// out as holes. `from_name`, `to_name` are for errors.
Result<uint64_t> receive(int from, const std::string& from_name, int to, const std::string& to_name,
                         uint64_t hole_bytes);

}  // namespace vmm::block
