// DiskJob: one request of an IDE drive to its disk, on its way from a vCPU's thread to the disk's I/O thread
// and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "block/block_device.h"

namespace vmm::ide {

// What a drive moves at a time, and so the most that it holds of the host's memory in one buffer. A drive has
// one, and one more while a request runs that a reset made void.
inline constexpr uint32_t kStepBytes = 128 << 10;

struct DiskJob {
  uint64_t number = 0;  // later jobs of a drive have larger ones
  block::BlockOp op = block::BlockOp::kRead;
  block::DiskOffset offset;
  uint64_t length_bytes = 0;  // kRead, kWrite: at most kStepBytes
  bool force_unit_access = false;
  std::vector<std::byte> buffer;  // kRead, kWrite: length_bytes from its beginning; else just kept
};

}  // namespace vmm::ide
