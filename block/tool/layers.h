// The images of a chain, one by one: what each is, for commands that change one of them.
//
// Threads: any; blocks. Reads metadata only, each image under its lock for reading.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "block/disk_options.h"
#include "vmm/base/error.h"

namespace vmm::block::tool {

struct Layer {
  std::string path;
  Format format = Format::kRaw;
  uint64_t size_bytes = 0;  // of its disk
  bool has_snapshots = false;
};

// "raw", "qcow2", …
std::string_view format_word(Format format);

// `image`: path, format, and the format of its backing file where it names none. The image first. Errors name
// the chain down to the file that they are about.
Result<std::vector<Layer>> layers_of(const DiskOptions& image);

// "a -> b -> c".
std::string chain_text(const std::vector<Layer>& layers);

}  // namespace vmm::block::tool
