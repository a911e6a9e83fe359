#include "block/data_file.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "block/backing_name.h"

namespace vmm::block {
namespace {

bool is_same_file(const std::string& first, const std::string& second) {
  std::error_code error;
  return std::filesystem::equivalent(first, second, error);
}

std::string how_to_allow(const DiskOptions& options, const std::string& path) {
  return options.for_guest ? "<dataStore> in the disk's <source>" : "--data-file " + path;
}

}  // namespace

Result<std::string> named_data_file(const std::string& in_header, const DiskOptions& options) {
  if (in_header.empty()) {
    return fail("{}: has its data in another file and does not name it", options.path);
  }
  VMM_ASSIGN_OR_RETURN(const BackingName name, parse_backing_name(in_header, options.path));
  // For QEMU a relative name starts where the program runs.
  VMM_ASSIGN_OR_RETURN(const BackingName elsewhere, parse_backing_name(in_header, ""));
  const auto found = std::ranges::find_if(options.data_files, [&](const std::string& named) {
    return is_same_file(named, name.path) || is_same_file(named, elsewhere.path);
  });
  if (found != options.data_files.end()) {
    return *found;
  }
  std::error_code error;
  if (!std::filesystem::exists(name.path, error) && !std::filesystem::exists(elsewhere.path, error)) {
    return fail("{}: has its data in the file {}, which is not there", options.path, name.path);
  }
  return options.data_files.empty()
             ? fail("{}: has its data in the file {}, which is only opened if you name it: {} allows it",
                    options.path, name.path, how_to_allow(options, name.path))
             : fail("{}: has its data in the file {}, and {} is another file; {} allows it", options.path,
                    name.path, options.data_files.front(), how_to_allow(options, name.path));
}

}  // namespace vmm::block
