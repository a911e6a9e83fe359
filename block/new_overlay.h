// A new qcow2 image that stands on another one, for a guest to go on from there.
//
// Threads: one; blocks. Errors name the file.
#pragma once

#include <memory>
#include <string>

#include "block/block_device.h"
#include "block/disk_options.h"
#include "block/new_file.h"
#include "block/qcow2/create.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"

namespace vmm::block {

class NewOverlay {
 public:
  struct Options {
    std::string path;
    // Raw or qcow2. It is opened with all that it stands on, by its passphrases, to be read.
    DiskOptions base;
    // Not null: the overlay is encrypted with it (LUKS1).
    std::shared_ptr<const Secret> passphrase;
  };

  // All that takes time, and makes no file. As long as this lives, nobody can write to the base. Errors:
  // there is such a file already; the base cannot be opened, or somebody writes to it.
  static Result<NewOverlay> prepare(const Options& options);

  // The image, complete but for its name (NewFile::keep). It names the base by its absolute path, with the
  // format, and is as long.
  Result<NewFile> make() const;

 private:
  NewOverlay() = default;

  std::string path_;
  // The base goes before its loop.
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<BlockDevice> base_;
  qcow2::CreateOptions create_;
};

}  // namespace vmm::block
