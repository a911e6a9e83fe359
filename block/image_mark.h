// Marks on an image: who opens it next is told that a guest's data are in another image, or not all in this.
//
// A domain file goes on naming the image that its guest began with, when a snapshot was put on that or a
// commit into it was cut short. Marks are extended attributes of the image's file (xattr(7)):
// "user.vmm.overlay", "user.vmm.merging" and "user.vmm.moved", each with the path of the other image. They go
// with a file that is renamed, and not with its copy. One that is true no longer counts for nothing, and need
// not be removed. Threads: any; blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "block/disk_layer.h"
#include "vmm/base/error.h"

namespace vmm::block {

enum class ImageMark : uint8_t {
  kOverlay,  // the other stands on this one, and has what the guest wrote since
  kMoved,  // the same, but it does not stand on this one any more: it got all it needs, or this stands on it
  kMerging,  // some of what the other holds was written to this one
};

// Durable. Errors: the file system or the user's rights allow no such attributes; the host's.
Status set_mark(const std::string& image, ImageMark mark, const std::string& other);
// Durable; there may be none. Errors: the host's.
Status remove_mark(const std::string& image, ImageMark mark);
// As set; nothing: there is none.
std::optional<std::string> mark_of(const std::string& image, ImageMark mark);

// The image in which that is what a guest wrote to this one last, by the marks for overlays, as far as they
// lead; nothing: it is in this one.
std::optional<std::string> newest_of(const std::string& image);

// A disk of these images, from its own down, is what its guest had last. is_written: a guest is to write to
// it; else older data are as good as any. Errors (of the configuration) say which image to name in its place.
Status check_marks(const std::vector<DiskLayer>& layers, bool is_written);

}  // namespace vmm::block
