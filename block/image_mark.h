// Marks on an image: who opens it next is told that a guest's data are in another image, or not all in this.
//
// A domain file goes on naming the image that its guest began with, when a snapshot was put on that or a
// commit into it was cut short. Marks are extended attributes of the image's file (xattr(7)):
// "user.vmm.newer", "user.vmm.merging" and "user.vmm.emptied", each with the number and the path of the other
// image; "user.vmm.id" is that number, 128 bits of chance, on the image that is named. They go with a file
// that is renamed or moved, and with copies that keep attributes; a mark counts until it is removed, whatever
// has become of the other. Threads: any; blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "block/disk_layer.h"
#include "vmm/base/error.h"

namespace vmm::block {

enum class ImageMark : uint8_t {
  kNewer,    // the other has what the guest wrote since: an overlay, or where that was merged or streamed to
  kMerging,  // some of what the other holds was written to this one
  kEmptied,  // all of this one is in the other, on which it stands: both show the same, until one is written
             // to
};
constexpr ImageMark kImageMarks[] = {ImageMark::kNewer, ImageMark::kMerging, ImageMark::kEmptied};

// Durable. Errors: the file system or the user's rights allow no such attributes; the host's.
Status set_mark(const std::string& image, ImageMark mark, const std::string& other);
// Durable. False: there was none. Errors: the host's.
Result<bool> remove_mark(const std::string& image, ImageMark mark);

// The other's path, as it was when the mark was set; nothing: there is no mark.
std::optional<std::string> mark_of(const std::string& image, ImageMark mark);
// The mark names this image, wherever it is now.
bool names(const std::string& image, ImageMark mark, const std::string& other);

// A disk of these images, from its own down, is what its guest had last. is_written: a guest is to write to
// it; else older data are as good as any, but not those that are half merged. Errors (of the configuration)
// say which image to name in its place.
Status check_marks(const std::vector<DiskLayer>& layers, bool is_written);
// A guest writes to the disk, which was checked, from now on: what has only shown the same is older then.
Status mark_use(const std::vector<DiskLayer>& layers);
// The layers from 0 to the one above `base` are about to be merged into that: nobody else has newer data.
Status check_merge(const std::vector<DiskLayer>& layers, size_t base);

}  // namespace vmm::block
