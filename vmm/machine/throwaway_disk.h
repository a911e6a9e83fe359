// ThrowawayDisk: what a guest wrote to a disk in a run, and what becomes of it when the run is over.
//
// Threads: the main thread's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "block/disk_options.h"
#include "block/overlay_file.h"
#include "vmm/base/error.h"

namespace vmm {

struct ThrowawayDisk {
  std::string target;
  std::shared_ptr<const block::OverlayFile> file;
  uint64_t bytes_at_start = 0;             // that the file took
  std::filesystem::path kept_as;           // empty: it is not kept
  std::optional<block::DiskOptions> base;  // where it is committed: to this image, as it was at the start
};

// Keeps, commits or throws away. REQUIRES: the images are closed. is_clean_end: the guest has switched itself
// off, and only then anything is committed. `tell` gets a sentence for each thing that was done. Errors: the
// first thing that was not; what was to be committed is then kept in a file that the error names.
Status finish_throwaway(std::span<const ThrowawayDisk> disks, bool is_clean_end,
                        const std::function<void(const std::string&)>& tell);

}  // namespace vmm
