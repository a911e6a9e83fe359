// What an image says of itself: one tree for people and for programs, with the keys of `qemu-img info
// --output=json`.
//
// Threads: any; blocks. Reads the image's metadata only, under its lock for reading.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "vmm/base/error.h"

namespace vmm::block::tool {

struct ImageInfo {
  // Names are the image's, with whatever characters they have.
  nlohmann::ordered_json tree;
  bool is_recognised = false;  // the format was not given, but seen by the first bytes
  // What it stands on, and why that cannot be opened, if already its name says so.
  std::optional<std::string> backing_path;
  std::optional<Error> backing_error;
  std::optional<std::string> backing_format;
};

// `format`: "raw", "iso", "qcow" or "qcow2"; absent: recognised by its magic number. is_shared: others may be
// writing to it. Errors name the file.
Result<ImageInfo> image_info(const std::string& path, const std::optional<std::string>& format,
                             bool is_shared = false);

}  // namespace vmm::block::tool
