// A qcow2 image whose metadata a command changes: open for writing, locked, and ready for it.
//
// Threads: one; blocks. Errors name the file.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "block/file_state.h"
#include "block/image_file.h"
#include "block/qcow2/header.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block {

struct ChangedImage {
  ImageFile image;
  std::unique_ptr<SyncFile> file;
  qcow2::Header header;
};

// After qcow2::prepare_for_maintenance(). `expected`: what the file must still be.
Result<ChangedImage> open_changed_image(const std::string& path,
                                        const std::optional<FileState>& expected = std::nullopt);

}  // namespace vmm::block
