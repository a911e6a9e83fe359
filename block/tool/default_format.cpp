#include "block/tool/default_format.h"

#include "block/tool/image_info.h"

namespace vmm::block::tool {
namespace {

bool names_other_files(const ImageInfo& info) {
  const nlohmann::ordered_json::json_pointer data_file("/format-specific/data/data-file");
  return info.backing_path || info.tree.contains(data_file);
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
  VMM_ASSIGN_OR_RETURN(const ImageInfo info, image_info(path, "qcow2", is_shared));
  if (names_other_files(info)) {
    return fail_configuration(
        "{}: as a qcow2 image it names other files, which are not read on the word of its name alone; add {} "
        "qcow2",
        path, option);
  }
  return "qcow2";
}

}  // namespace vmm::block::tool
