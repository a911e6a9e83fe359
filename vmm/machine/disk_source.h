// A disk's image, opened as the domain file wants it: the one way, of a run and of vmm --check.
//
// Threads: as block::open_disk().
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "block/block_device.h"
#include "block/disk_options.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/domain/domain.h"
#include "vmm/machine/disc_check.h"
#include "vmm/machine/secrets.h"

namespace vmm {

struct OpenedSource {
  std::unique_ptr<block::BlockDevice> image;
  std::optional<DiscBoot> boot;  // of a raw image in a CD-ROM drive
};

// What the domain file says of the disk, with its passphrase.
Result<block::DiskOptions> disk_options(const domain::Disk& disk, const DiskSecrets& secrets);

// options: those of disk_options(), and what the caller adds. Errors name the image, or the element; the disk
// is the caller's to name.
Result<OpenedSource> open_source(EventLoop& loop, const domain::Disk& disk,
                                 const block::DiskOptions& options);

// Whether there is anything of that name, as far as this process may know.
bool is_there(const std::filesystem::path& file);

// Nothing may depend on it but a warning about what is taken as raw: what the bytes are, a guest may have
// decided.
bool begins_as_qcow2(const std::filesystem::path& file);

}  // namespace vmm
