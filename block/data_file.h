// The external data file of a qcow2 image: opened by the name that who runs the program gives it.
//
// The image's header has a name too, which who made the image chose: it could be any file of the host, to be
// read and written. So it only has to agree. Threads: any.
#pragma once

#include <string>

#include "block/disk_options.h"
#include "vmm/base/error.h"

namespace vmm::block {

// Which of options.data_files the image at options.path means with `in_header`. Errors name the file, and how
// to allow it.
Result<std::string> named_data_file(const std::string& in_header, const DiskOptions& options);

}  // namespace vmm::block
