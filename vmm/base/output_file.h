// Files that the person names for what vmm writes: a console's output, the log. Threads: any.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm {

// open(2) for writing, with these flags beside O_WRONLY, which never waits: a pipe that nobody reads from is
// an error. The descriptor is O_NONBLOCK. what: for the message, as "the log file guest.log".
Result<UniqueFd> open_output(const std::string& path, int flags, mode_t mode, std::string_view what);

}  // namespace vmm
