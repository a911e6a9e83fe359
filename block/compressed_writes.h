// CompressedWrites: whole clusters of a disk, compressed by the caller, stored as they are.
//
// For tools. See block_device.h for threads.
#pragma once

#include <cstdint>

#include "block/block_device.h"
#include "block/compressor.h"

namespace vmm::block {

class CompressedWrites {
 public:
  virtual Compression compression() const = 0;
  virtual uint64_t cluster_bytes() const = 0;

  // As BlockDevice::submit(), a kWrite: offset at the beginning of a cluster; length_bytes of all of it that
  // lies in the disk; the buffers hold what its Compressor made of the cluster, filled up with zeroes behind
  // the end of the disk: fewer bytes than a cluster has.
  virtual void submit_compressed(BlockRequest request) = 0;

 protected:
  ~CompressedWrites() = default;
};

}  // namespace vmm::block
