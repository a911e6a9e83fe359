// Another size for the disk in an image, for commands that need a longer one, too.
//
// Threads: one; blocks. Errors name the option or the file.
#pragma once

#include <string>

#include "block/tool/chain_options.h"
#include "vmm/base/error.h"

namespace vmm::block::tool {

struct ResizeOptions {
  std::string path;
  std::string size;  // as the user says it: "+1G"
  std::string format;
  std::string preallocation = "off";
  ChainOptions chain;
  bool may_shrink = false;
  bool is_quiet = false;
};

// Crash-safe; the image must not be in use.
Status resize_image(const ResizeOptions& options);

}  // namespace vmm::block::tool
