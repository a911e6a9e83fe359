// DiskLayer: one of the image files that a disk is made of.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <string>

namespace vmm::block {

enum class Format : uint8_t {
  kRaw,
  kQcow2,
  kQcow,  // version 1; read only
  kIso,   // read only
};

struct DiskLayer {
  std::string path;
  Format format = Format::kRaw;
  uint64_t size_bytes = 0;     // of the disk that it describes
  bool has_snapshots = false;  // internal ones
};

}  // namespace vmm::block
