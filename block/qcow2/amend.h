// amend: an image of another version, with other features, without copying it. The image is not in use.
//
// Each step (refcounts of another width; all the rest) is taken into use by one write of the header's first
// sector: whatever crash comes, the image is before or after a step, without errors, and holds the same.
// What cannot be is refused before the first step. Blocks; under the image's lock for writing; REQUIRES:
// prepare_for_maintenance().
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "block/qcow2/header.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

// What is not said stays.
struct AmendOptions {
  std::optional<uint32_t> version;  // 2 or 3
  std::optional<bool> lazy_refcounts;
  std::optional<uint32_t> refcount_order;  // 0 to 6
  std::optional<std::string> data_file;    // the name of the file that it has already
  std::optional<bool> data_file_raw;

  bool operator==(const AmendOptions&) const = default;
};

// `header` follows. Version 2 has no zero clusters: they are given up, or, where a backing file would show,
// filled with zeroes.
Status amend(SyncFile& file, Header& header, const AmendOptions& options);

}  // namespace vmm::block::qcow2
