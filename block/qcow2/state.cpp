#include "block/qcow2/state.h"

#include <algorithm>

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

void ImageState::use_up_to(uint64_t end_bytes) {
  constexpr uint64_t kAheadBytes = uint64_t{64} << 20U;
  used_end = std::max(used_end, end_bytes);
  if (extend_ahead == nullptr || used_end <= file_end || !transfers.are_under_way()) {
    return;
  }
  // A hole: it takes no space.
  if (!extend_ahead->resize(used_end + kAheadBytes)) {
    extend_ahead = nullptr;
    return;
  }
  file_end = used_end + kAheadBytes;
}

void ImageState::cut_to_use() {
  if (extend_ahead == nullptr || file_end <= used_end) {
    return;
  }
  if (const Status status = extend_ahead->resize(used_end); !status) {
    log::warning("{}", status.error().message());
  }
  file_end = used_end;
}

}  // namespace vmm::block::qcow2
