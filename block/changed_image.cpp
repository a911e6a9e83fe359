#include "block/changed_image.h"

#include "block/qcow2/image.h"
#include "block/qcow2/open_image.h"

namespace vmm::block {

Result<ChangedImage> open_changed_image(const std::string& path, const std::optional<FileState>& expected) {
  ChangedImage opened;
  VMM_ASSIGN_OR_RETURN(opened.image,
                       open_image_file({.path = path, .for_guest = false, .expected = expected}));
  opened.file = make_sync_file(opened.image.files.main, path);
  VMM_ASSIGN_OR_RETURN(opened.header, qcow2::read_header(*opened.file));
  VMM_TRY(qcow2::prepare_for_maintenance(*opened.file, opened.header));
  return opened;
}

}  // namespace vmm::block
