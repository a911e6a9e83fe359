#include "block/copy/write_behind.h"

#include <fcntl.h>

namespace vmm::block {

WriteBehind::WriteBehind(const std::string& path)
    : file_(::open(path.c_str(), O_WRONLY | O_CLOEXEC)), thread_([this] { serve(); }) {}

WriteBehind::~WriteBehind() {
  is_stopping_ = true;
  if (!is_asked_.exchange(true)) {
    asked_.release();
  }
  thread_.join();
}

void WriteBehind::written(uint64_t bytes) {
  if (bytes < begun_bytes_ + kStepBytes) {
    return;
  }
  begun_bytes_ = bytes;
  if (!is_asked_.exchange(true)) {
    asked_.release();
  }
}

void WriteBehind::serve() {
  for (;;) {
    asked_.acquire();
    is_asked_ = false;
    if (is_stopping_) {
      return;
    }
    // All of the file: what is on its way already is passed over.
    static_cast<void>(::sync_file_range(file_.get(), 0, 0, SYNC_FILE_RANGE_WRITE));
  }
}

}  // namespace vmm::block
