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

// Keeps, commits or throws away. REQUIRES: the images are closed. why_not_to_commit: empty where the guest
// has ended itself, and well, and only then anything is committed; else told. `tell` gets a sentence for each
// thing that was done. Errors: the first thing that was not; what was to be kept or committed is then in a
// file that the error names.
Status finish_throwaway(std::span<const ThrowawayDisk> disks, const std::string& why_not_to_commit,
                        const std::function<void(const std::string&)>& tell);

}  // namespace vmm
