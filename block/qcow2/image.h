// Image: a qcow2 image, versions 2 and 3, as a layer of a chain.
//
// Standard: QEMU's docs/interop/qcow2. Reading is here; a Writer changes it. Threads: the image's loop only,
// but for open(), which blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "block/cache_counters.h"
#include "block/decompressor.h"
#include "block/host_file.h"
#include "block/image_format.h"
#include "block/qcow2/state.h"
#include "block/qcow2/table_cache.h"
#include "block/sector_cipher.h"
#include "block/sync_file.h"

namespace vmm::block::qcow2 {

// Reads and validates the header.
Result<Header> read_header(SyncFile& file);

// A table of 64-bit entries in host order. `bytes` is bounded by the caller.
Result<std::vector<uint64_t>> read_table(SyncFile& file, uint64_t offset, uint64_t bytes);

class Image final : public ImageFormat {
 public:
  struct Files {
    std::unique_ptr<HostFile> image;
    std::unique_ptr<SyncFile> sync;       // on the same descriptor
    std::unique_ptr<HostFile> data_file;  // where the header has the data file bit
    std::unique_ptr<SyncFile> data_sync;
  };
  struct Options {
    bool read_only = true;
    // For slices of L2 tables; 0: enough for 256 GiB of clusters of 64 KiB, if the image is as large.
    uint64_t cache_bytes = 0;
    std::shared_ptr<CacheCounters> cache_counters;  // null: nobody counts
    std::unique_ptr<SectorCipher> cipher;           // where the header has a crypt_method
  };

  // `header` comes from read_header(); corrupt images are refused for writing, dirty ones must have been
  // repaired.
  static Result<std::unique_ptr<Image>> open(Files files, Header header, Options options);
  ~Image() override;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  uint64_t size_bytes() const override { return state_.header.size_bytes; }
  Extent map_read(DiskOffset offset, uint64_t length, Waiter& waiter) override;
  bool decompress(std::span<const std::byte> stored, std::span<std::byte> cluster) override;
  Holes holes() override;
  const SectorCipher* cipher() const override { return cipher_.get(); }
  TransferPeriods* transfers() override { return state_.is_read_only ? nullptr : &state_.transfers; }
  uint32_t background_requests() const override { return l2_cache_.loads_under_way(); }

  // --- For the Writer ---

  // Where the L2 entry of a guest offset is.
  struct L2Place {
    Outcome outcome = Outcome::kReady;
    TableCache::Table* table = nullptr;  // nullptr: there is no L2 table
    uint32_t index = 0;                  // in the slice
    uint32_t entries = 0;                // in the slice from there on
  };
  // Without a waiter nothing is loaded: kWait then says that the table is not in memory. REQUIRES: offset is
  // below the size of the disk rounded up to clusters.
  L2Place find_l2(uint64_t guest_offset, Waiter* waiter);
  L2Entry entry_at(const TableCache::Table& table, uint32_t index) const;
  void store_entry(std::byte* slice, uint32_t index, const L2Entry& entry) const;

  ImageState& state() { return state_; }
  TableCache& l2_cache() { return l2_cache_; }
  HostFile& data_file() { return files_.data_file ? *files_.data_file : *files_.image; }
  const HostFile* separate_data_file() const { return files_.data_file.get(); }
  SyncFile& sync_file() { return *files_.sync; }
  SyncFile& data_sync_file() { return files_.data_sync ? *files_.data_sync : *files_.sync; }

 private:
  Image(Files files, Header header, std::vector<uint64_t> l1, std::vector<uint64_t> refcount_table,
        Options options);

  Result<uint64_t> count_used(uint64_t clusters, uint64_t most);
  Extent extent_of(const L2Place& place, uint64_t guest_offset, uint64_t length);
  Extent first_extent(const L2Entry& entry, uint64_t guest_offset, uint64_t length);
  Extent subcluster_extent(const L2Entry& entry, uint64_t guest_offset, uint64_t length);
  Extent data_extent(const L2Entry& entry, uint64_t guest_offset, uint64_t length);
  Extent with_place(Extent extent, const L2Entry& entry, uint64_t guest_offset);
  Extent compressed_extent(const L2Entry& entry, uint64_t guest_offset, uint64_t length) const;
  Extent invalid_entry(uint64_t guest_offset);

  Files files_;
  ImageState state_;
  TableCache l2_cache_;
  std::shared_ptr<CacheCounters> cache_counters_;
  std::unique_ptr<SectorCipher> cipher_;
  std::unique_ptr<Decompressor> decompressor_;
};

}  // namespace vmm::block::qcow2
