// Header of qcow version 1: the format before qcow2, still found on old disks. Read only.
//
// Standard: there is none but QEMU's reading: 48 bytes, big-endian; then L1 table, L2 tables and clusters
// anywhere. Threads: plain values and functions without state. Errors name file, field and offset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow1 {

inline constexpr size_t kHeaderBytes = 48;
inline constexpr uint64_t kMaxL1Bytes = uint64_t{32} << 20U;  // of memory
inline constexpr uint32_t kMaxBackingNameBytes = 1023;

struct Header {
  uint64_t size_bytes = 0;    // of the disk; 1 to INT64_MAX
  uint32_t cluster_bits = 0;  // 9 to 16
  uint32_t l2_bits = 0;       // entries of an L2 table; 6 to 13
  bool is_encrypted = false;  // crypt_method 1: AES (block/crypto/sector_cipher.h)
  uint64_t l1_offset = 0;
  uint64_t l1_entries = 0;
  std::optional<std::string> backing_file;  // its format is not told

  uint64_t cluster_bytes() const { return uint64_t{1} << cluster_bits; }
  uint64_t l2_table_bytes() const { return uint64_t{8} << l2_bits; }
};

// Whether a file begins like one.
bool has_magic(std::span<const std::byte> start);

// Of a file with file_bytes; backing_file is left out. Errors have no file name.
Result<Header> parse_header(std::span<const std::byte> start, uint64_t file_bytes);

// With the name of the backing file.
Result<Header> read_header(SyncFile& file);

}  // namespace vmm::block::qcow1
