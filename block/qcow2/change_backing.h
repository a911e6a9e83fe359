// Another backing file for an image that is not in use, or none: what its header says.
//
// The header's first sector tells where the name lies and, in its extensions, of which format the file is.
// The new name goes to a place in the first cluster where nothing lies, and is flushed; then one write
// changes the first sector. So at every instant the image has the old name with the old format, or the new
// name with the new one (as long as a sector is written whole or not at all). QEMU writes the cluster anew.
#pragma once

#include <optional>
#include <string>

#include "block/qcow2/header.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

struct Backing {
  std::string file;  // empty: none
  std::optional<std::string> format;
};

// Whether it can be done: a data file that is a raw image of the disk excludes a backing file; in clusters of
// 512 bytes to 2 KiB there may be no room for two long names; and extensions of some hundred bytes, which
// others may have put there, do not make room for a longer or shorter format. Errors name the image. Blocks.
Status check_backing(SyncFile& file, const Header& header, const Backing& backing);

// The disk's contents are what they were only if the new backing file holds the same as the old one, wherever
// the image has nothing: that is the caller's business. `header` is to be read again. Flushed. Blocks; under
// the image's lock for writing; REQUIRES: prepare_for_maintenance().
Status change_backing(SyncFile& file, const Header& header, const Backing& backing);

}  // namespace vmm::block::qcow2
