// What the domain file says of a disk, in the block layer's words.
//
// Threads: values.
#pragma once

#include "block/disk_options.h"
#include "block/error_policy.h"
#include "block/overlay_file.h"
#include "block/throttled_disk.h"
#include "vmm/domain/domain.h"

namespace vmm {

// Without passphrases, which the domain file does not have.
block::DiskOptions to_block(const domain::Disk& disk);
block::OverlayFile::Options overlay_options(const domain::Throwaway& throwaway, const domain::Disk& disk);
block::IoLimits io_limits(const domain::IoTune& tune);
block::ErrorPolicies error_policies(const domain::Disk& disk);

}  // namespace vmm
