#include "block/tool/default_format.h"

#include "block/image_file.h"
#include "block/qcow2/header.h"
#include "block/qcow2/image.h"
#include "block/sync_file.h"

namespace vmm::block::tool {
namespace {

Result<bool> names_other_files(const std::string& path, bool is_shared) {
  VMM_ASSIGN_OR_RETURN(
      const ImageFile image,
      open_image_file({.path = path, .read_only = true, .shareable = is_shared, .for_guest = false}));
  const auto file = make_sync_file(image.files.main, path);
  VMM_ASSIGN_OR_RETURN(const qcow2::Header header, qcow2::read_header(*file));
  return header.has_backing_file() || header.has(qcow2::kIncompatibleDataFile);
}

}  // namespace

Result<std::string> format_of_image(const std::string& said, const std::string& path, std::string_view option,
                                    bool is_shared) {
  if (!said.empty()) {
    return said;
  }
  if (path.ends_with(".raw")) {
    return "raw";
  }
  if (path.ends_with(".iso")) {
    return "iso";
  }
  if (!path.ends_with(".qcow2")) {
    return fail_configuration(
        "{}: {} must tell its format (raw, qcow2, qcow or iso), which is never guessed from what lies in the "
        "file; only names that end with .raw, .qcow2 or .iso tell it, too",
        path, option);
  }
  VMM_ASSIGN_OR_RETURN(const bool needs_more, names_other_files(path, is_shared));
  if (needs_more) {
    return fail_configuration(
        "{}: as a qcow2 image it names other files, which are not read on the word of its name alone; add {} "
        "qcow2",
        path, option);
  }
  return "qcow2";
}

}  // namespace vmm::block::tool
