// DiskLayer: one of the image files that a disk is made of.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace vmm::block {

enum class Format : uint8_t {
  kRaw,
  kQcow2,
  kQcow,  // version 1; read only
  kIso,   // read only
};

// As a qcow2 header calls it.
constexpr const char* format_name(Format format) {
  switch (format) {
    case Format::kQcow2:
      return "qcow2";
    case Format::kQcow:
      return "qcow";
    case Format::kRaw:
    case Format::kIso:
      break;
  }
  return "raw";
}

struct DiskLayer {
  std::string path;
  Format format = Format::kRaw;
  uint64_t size_bytes = 0;     // of the disk that it describes
  bool has_snapshots = false;  // internal ones
  uint64_t cluster_bytes = 0;  // 0: it has none
  bool is_encrypted = false;
  // What it stands on, as it says so itself.
  std::optional<std::string> backing_name;
  std::optional<std::string> backing_format;
};

}  // namespace vmm::block
