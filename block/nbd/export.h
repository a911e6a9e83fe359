// Export: a disk as clients see it.
//
// Threads: values; the disk is its loop's.
#pragma once

#include <cstdint>
#include <string>

#include "block/block_device.h"

namespace vmm::block::nbd {

struct Export {
  std::string name;         // at most 4096 bytes, as the description; empty: the default export
  std::string description;  // empty: none
  BlockDevice* disk = nullptr;
  // Clients may use several connections as one.
  bool has_several_connections = false;
};

struct BlockSizes {
  uint32_t minimum = 1;
  uint32_t preferred = 4096;
  uint32_t maximum = 0;
};

uint16_t transmission_flags(const Export& exported, bool has_structured_replies);
BlockSizes block_sizes(const BlockDevice& disk);

}  // namespace vmm::block::nbd
