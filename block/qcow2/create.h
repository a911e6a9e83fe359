// Making a new qcow2 image, or one's metadata anew.
//
// Standard: QEMU's docs/interop/qcow2. Blocks; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "block/qcow2/header.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

enum class Preallocation : uint8_t {
  kOff,
  kMetadata,  // every cluster of the disk has its place; the file has holes there
  kFalloc,    // and the host has set the space aside
  kFull,      // and zeroes are written there
};

struct CreateOptions {
  uint64_t size_bytes = 0;
  uint32_t version = 3;
  uint32_t cluster_bits = 16;   // kMinClusterBits to kMaxClusterBits
  uint32_t refcount_order = 4;  // 0 to 6; version 2: 4
  bool lazy_refcounts = false;
  bool extended_l2 = false;
  CompressionType compression = CompressionType::kZlib;
  Preallocation preallocation = Preallocation::kOff;
  std::string backing_file;
  std::optional<std::string> backing_format;
  std::string data_file;
  bool data_file_raw = false;
  // With CryptMethod::kLuks: its header, as it is to lie in the image.
  CryptMethod crypt = CryptMethod::kNone;
  std::vector<std::byte> crypto_header;
};

// The header is written last, so that a file that is half made is no image. What `file` holds, as a block
// device does, is lost, and never shows in the new image. Flushed. The data file is the caller's to make.
Status create(SyncFile& file, const CreateOptions& options);

// The first byte after the metadata of a new image, where with preallocation the disk's bytes lie in order.
Result<uint64_t> data_offset(const CreateOptions& options, const std::string& path);

}  // namespace vmm::block::qcow2
