#include "block/live/snapshot.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "block/backing_name.h"
#include "block/image_file.h"
#include "block/live/chain_options.h"
#include "block/open.h"
#include "block/qcow2/create.h"
#include "block/resize.h"
#include "block/sync_file.h"

namespace vmm::block {
namespace {

// In the words of somebody who made an overlay for this; what is opened then is looked at anyway.
Status expect_overlay(const std::string& path, const DiskOptions& disk) {
  VMM_ASSIGN_OR_RETURN(const std::optional<BackingName> below, expect_empty(path));
  std::error_code error;
  const bool is_it = below && std::filesystem::equivalent(below->path, disk.path, error) &&
                     below->format == format_name(disk.format);
  return is_it
             ? Status()
             : fail(
                   "{}: stands on {}, and has to stand on {} of the format {} (vmm-img create -f qcow2 -b {} "
                   "-F {} …)",
                   path,
                   below ? below->path + (below->format ? " of the format " + *below->format : "")
                         : "nothing",
                   disk.path, format_name(disk.format), disk.path, format_name(disk.format));
}

}  // namespace

Status make_snapshot_file(const std::string& path, const DiskOptions& disk, uint64_t size_bytes) {
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(path, error))) {
    return fail("{}: there is such a file already, and it is not written over", path);
  }
  // Making an encrypted image takes seconds, in which nothing else would be done.
  if (!disk.passphrases.empty()) {
    return fail(
        "{}: {} is encrypted, and this would hold in clear what the guest writes; make an encrypted overlay "
        "first (vmm-img create -f qcow2 -o encrypt.format=luks… -b …), and use it (mode: existing)",
        path, disk.path);
  }
  const qcow2::CreateOptions create{.size_bytes = size_bytes,
                                    .backing_file = std::filesystem::absolute(disk.path, error).native(),
                                    .backing_format = format_name(disk.format)};
  VMM_ASSIGN_OR_RETURN(NewFile file, NewFile::create(path));
  VMM_TRY(file.take_mode_of(disk.path));
  {
    VMM_ASSIGN_OR_RETURN(const ImageFile image, open_image_file({.path = file.path(), .for_guest = false}));
    VMM_TRY(qcow2::create(*make_sync_file(image.files.main, file.path()), create));
  }
  return file.keep(/*may_replace=*/false);
}

Status put_on_snapshot(LiveDisk& disk, const std::string& path) {
  const uint64_t size = disk.size_bytes();
  const DiskOptions then = options_above(disk.options(), path);
  return disk.reopen(then, {}, [&]() -> Result<std::unique_ptr<BlockDevice>> {
    VMM_TRY(expect_overlay(path, disk.options()));
    VMM_ASSIGN_OR_RETURN(auto opened, open_disk(disk.loop(), then));
    if (opened->layers()[1].is_encrypted && !opened->layers().front().is_encrypted) {
      return fail("{}: is not encrypted, and would hold in clear what the guest writes to {}", path,
                  disk.options().path);
    }
    if (opened->size_bytes() != size) {
      return fail("{}: its disk has {} bytes, and {} has {}", path, opened->size_bytes(), disk.options().path,
                  size);
    }
    mark_or_warn(disk.options().path, ImageMark::kNewer, path);  // before the guest writes there
    return opened;
  });
}

// They come first: what they show beyond the old end are zeroes, and they need none of their own there.
Status make_longer(const LiveDisk& disk, const DiskOptions& image, uint64_t size_bytes) {
  const auto at_least = [size_bytes](uint64_t old_bytes) { return std::max(old_bytes, size_bytes); };
  for (const LiveDisk::Emptied& emptied : disk.emptied()) {
    std::error_code error;
    if (emptied.base != image.path || !std::filesystem::exists(emptied.path, error)) {
      continue;
    }
    DiskOptions options = image;
    options.path = emptied.path;
    options.format = Format::kQcow2;
    VMM_TRY(resize_image({.image = options, .wanted_bytes = at_least}));
  }
  return resize_image({.image = image, .wanted_bytes = at_least});
}

Status resize_live(LiveDisk& disk, uint64_t size_bytes) {
  if (size_bytes < disk.size_bytes()) {
    return fail("{}: has {} bytes, and cannot become shorter while a guest uses it", disk.options().path,
                disk.size_bytes());
  }
  return disk.reopen(disk.options(), [&] { return make_longer(disk, disk.options(), size_bytes); });
}

}  // namespace vmm::block
