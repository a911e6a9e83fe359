// How long a qcow2 image will be, before it is made: qemu-img's figures, number for number.
//
// Theirs are an estimate from above: tables are counted as if the whole disk were allocated. Pure functions,
// any thread.
#pragma once

#include <cstdint>

#include "block/qcow2/create.h"
#include "block/qcow2/header.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

struct Measure {
  uint64_t required = 0;         // bytes of the file
  uint64_t fully_allocated = 0;  // when all of the disk has been written to
};

// `options`: size, version and the sizes of clusters and entries count. `data_bytes`: of the clusters that
// get data at once. `crypto_bytes`: of the encryption header, 0 without one. Errors: the size, with the
// clusters, is more than an image can have.
Result<Measure> measure_image(const CreateOptions& options, uint64_t data_bytes, uint64_t crypto_bytes);

// What copies of the image's bitmaps, of inconsistent ones too, take in an image with clusters of that size.
// Blocks; under the image's lock.
Result<uint64_t> measure_bitmaps(SyncFile& file, const Header& header, uint32_t cluster_bits);

}  // namespace vmm::block::qcow2
