// BackingName: the name that an image has for another file, made into a path of this host.
//
// Names come from images, which are hostile: plain paths, and "json:" names limited to the file driver, are
// all that is understood; protocols of other kinds, and options of "json:" names, are refused by name. Pure
// functions, any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "block/disk_options.h"
#include "vmm/base/error.h"

namespace vmm::block {

struct BackingName {
  // Relative names start at the image's folder; in a "json:" name, as for QEMU, where the program runs.
  std::string path;
  std::optional<std::string> format;  // where a "json:" name says it
};

// Names of the drivers for files and block devices: where one stands for a format, the image is raw.
bool is_file_driver(const std::string& name);

// `image`: path of the image that has the name.
Result<BackingName> parse_backing_name(const std::string& name, const std::string& image);

// A chain in words, from the top: of a long one the first and the last.
std::string chain_text(const std::vector<std::string>& paths);

// As a qcow2 header calls it; nothing: not known here.
std::optional<Format> format_named(const std::string& name);

}  // namespace vmm::block
