// Image: a qcow image of version 1 as a read-only layer of a chain, so that old disks can be read and
// converted.
//
// Threads: the image's loop only, but for open(), which blocks. Memory: the L1 table (at most kMaxL1Bytes)
// and 1 MiB of L2 tables. What a table says wrongly gives IoStatus::kIoError for the range that it is about.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "block/decompressor.h"
#include "block/host_file.h"
#include "block/image_format.h"
#include "block/qcow1/header.h"
#include "block/qcow2/table_cache.h"
#include "block/sector_cipher.h"
#include "block/sync_file.h"

namespace vmm::block::qcow1 {

// Where an L2 entry says that a cluster is.
struct Cluster {
  enum class Kind : uint8_t { kBacking, kData, kCompressed, kInvalid };
  Kind kind = Kind::kBacking;
  uint64_t offset = 0;        // in the file
  uint64_t stored_bytes = 0;  // kCompressed
};

// Bit 63: compressed; then cluster_bits bits of size and the offset, both in bytes.
// bytes.
Cluster decode_entry(const Header& header, uint64_t entry);

class Image final : public ImageFormat {
 public:
  // `cipher` where the header is_encrypted, nullptr elsewhere. `sync` is on the same file.
  static Result<std::unique_ptr<Image>> open(std::unique_ptr<HostFile> file, SyncFile& sync,
                                             const Header& header, std::unique_ptr<SectorCipher> cipher);

  uint64_t size_bytes() const override { return header_.size_bytes; }
  Extent map_read(DiskOffset offset, uint64_t length, Waiter& waiter) override;
  bool decompress(std::span<const std::byte> stored, std::span<std::byte> cluster) override;
  const SectorCipher* cipher() const override { return cipher_.get(); }
  uint32_t background_requests() const override { return tables_.loads_under_way(); }

 private:
  Image(std::unique_ptr<HostFile> file, const Header& header, std::vector<uint64_t> l1,
        std::unique_ptr<SectorCipher> cipher);

  Extent cluster_extent(uint64_t entry, uint64_t guest_offset, uint64_t length) const;

  // Constant after construction.
  Header header_;
  std::vector<uint64_t> l1_;
  std::unique_ptr<HostFile> file_;
  std::unique_ptr<SectorCipher> cipher_;
  std::unique_ptr<Decompressor> decompressor_;

  qcow2::TableCache tables_;
};

}  // namespace vmm::block::qcow1
