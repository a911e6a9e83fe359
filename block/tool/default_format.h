// The format of an image for which the command line says none.
//
// Never what lies in the file: a guest can write a qcow2 header into its raw disk. What decides is the name,
// which is the host's: it ends with .raw, .qcow2 or .iso. A qcow2 image that names other files needs more
// than a name, since those would be read for it.
//
// Threads: functions without state. Errors name the file and the option.
#pragma once

#include <string>
#include <string_view>

#include "vmm/base/error.h"

namespace vmm::block::tool {

// `said` if it is not empty. `option` would say it. is_shared: others may be writing to it.
Result<std::string> format_of_image(const std::string& said, const std::string& path, std::string_view option,
                                    bool is_shared = false);

}  // namespace vmm::block::tool
