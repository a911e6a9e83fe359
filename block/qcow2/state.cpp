#include "block/qcow2/state.h"

#include "vmm/base/log.h"

namespace vmm::block::qcow2 {

void ImageState::mark_corrupt(std::string_view reason) {
  if (is_corrupt) {
    return;
  }
  is_corrupt = true;
  wants_corrupt_bit = !is_read_only;
  log::error("{}: {}; {}", path, reason,
             is_read_only ? "the image is damaged (vmm-img check tells more)"
                          : "the image is damaged and is not written to any more; repair it (vmm-img check)");
}

}  // namespace vmm::block::qcow2
