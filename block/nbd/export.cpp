#include "block/nbd/export.h"

#include <algorithm>
#include <bit>

#include "block/nbd/protocol.h"

namespace vmm::block::nbd {

uint16_t transmission_flags(const Export& exported, bool has_structured_replies) {
  uint32_t flags = kHasFlags | kSendFlush;
  if (exported.disk->is_read_only()) {
    flags |= kReadOnly;
  } else {
    const BlockLimits limits = exported.disk->limits();
    flags |= kSendFua;
    flags |= limits.discard_alignment_bytes > 0 ? kSendTrim : 0U;
    flags |= limits.can_write_zeroes ? kSendWriteZeroes : 0U;
  }
  flags |= has_structured_replies ? kSendDf : 0U;
  flags |= exported.has_several_connections ? kCanMultiConn : 0U;
  return static_cast<uint16_t>(flags);
}

// Any alignment is served. Clients want a power of two.
BlockSizes block_sizes(const BlockDevice& disk) {
  const BlockLimits limits = disk.limits();
  const uint32_t wanted = std::max({uint32_t{4096}, limits.physical_block_bytes, limits.optimal_io_bytes});
  return {.minimum = 1,
          .preferred = std::bit_floor(std::min(wanted, kMaxPayloadBytes)),
          .maximum = kMaxPayloadBytes};
}

}  // namespace vmm::block::nbd
