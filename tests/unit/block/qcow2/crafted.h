// What our own writer does not make, put into an image by hand: compressed clusters, an internal snapshot.
// The repair then brings refcounts and flags in line.
#pragma once

#include <algorithm>

#include "block/compressor.h"
#include "block/qcow2/snapshot_table.h"
#include "tests/unit/block/qcow2/qcow2_world.h"

namespace vmm::block::qcow2 {

// As the image has its compressed clusters.
inline std::vector<std::byte> compressed(std::span<const std::byte> plain, const Header& header) {
  std::vector<std::byte> stored(plain.size() + 64);
  const bool is_zstd = header.compression == CompressionType::kZstd;
  const auto compressor = make_compressor(is_zstd ? Compression::kZstd : Compression::kDeflate);
  stored.resize(compressor->run(plain, stored));
  EXPECT_FALSE(stored.empty());
  return stored;
}

class Crafter {
 public:
  explicit Crafter(CrashDisk& disk) : disk_(disk), header_(read_header(disk).value()) {
    l1_ = read_table(disk_, header_.l1_offset, uint64_t{header_.l1_entries} * 8).value();
  }

  // A cluster of the disk that holds `value` everywhere, compressed. The next one lies in the same host
  // cluster if it fits.
  void add_compressed(uint64_t cluster, uint64_t value) {
    std::vector<std::byte> plain(header_.cluster_bytes());
    for (size_t at = 0; at < plain.size(); at += 8) {
      store_le<uint64_t>(plain.data() + at, value);
    }
    const auto stored = compressed(plain, header_);
    const uint64_t at = std::max(next_byte_, align_up(disk_.size().value(), header_.cluster_bytes()));
    put(at, stored);
    next_byte_ = at + stored.size();
    const uint64_t table = l2_table(cluster);
    const uint32_t entry_bytes = header_.entry_format().l2_entry_bytes();
    put_be(table + (cluster & (header_.l2_entries() - 1)) * entry_bytes,
           compressed_descriptor(header_.entry_format(), {.offset = at, .bytes = stored.size()}));
    if (entry_bytes == 16) {
      put_be(table + (cluster & (header_.l2_entries() - 1)) * entry_bytes + 8, 0);
    }
  }

  void add_snapshot() {
    Snapshot snapshot{.l1_entries = header_.l1_entries, .id = "1", .name = "crafted"};
    snapshot.disk_bytes = header_.size_bytes;
    snapshot.l1_offset = new_clusters(uint64_t{header_.l1_entries} * 8);
    for (size_t i = 0; i < l1_.size(); ++i) {
      put_be(snapshot.l1_offset + i * 8, l1_[i] & ~kEntryCopied);
    }
    const auto table = serialise_snapshot_table({snapshot});
    header_.snapshots_offset = new_clusters(table.size());
    header_.snapshot_count = 1;
    put(header_.snapshots_offset, table);
    EXPECT_TRUE(write_header(disk_, header_));
  }

  void finish() {
    const auto result = repair(disk_, header_, Repair::kAll);
    ASSERT_TRUE(result) << result.error().message();
    ASSERT_TRUE(result->is_clean()) << text_of(*result);
    EXPECT_TRUE(disk_.sync());
  }

 private:
  void put(uint64_t offset, std::span<const std::byte> bytes) {
    EXPECT_TRUE(disk_.write(FileOffset(offset), bytes));
  }
  void put_be(uint64_t offset, uint64_t value) {
    std::array<std::byte, 8> bytes{};
    store_be<uint64_t>(bytes.data(), value);
    put(offset, bytes);
  }
  uint64_t new_clusters(uint64_t bytes) {
    const uint64_t at = align_up(std::max(next_byte_, disk_.size().value()), header_.cluster_bytes());
    put(at, std::vector<std::byte>(align_up(std::max<uint64_t>(bytes, 1), header_.cluster_bytes())));
    return at;
  }
  uint64_t l2_table(uint64_t cluster) {
    uint64_t& entry = l1_[cluster >> header_.entry_format().l2_bits()];
    if (entry == 0) {
      entry = new_clusters(header_.cluster_bytes()) | kEntryCopied;
      put_be(header_.l1_offset + static_cast<uint64_t>(&entry - l1_.data()) * 8, entry);
    }
    return entry & kEntryOffsetMask;
  }

  CrashDisk& disk_;
  Header header_;
  std::vector<uint64_t> l1_;
  uint64_t next_byte_ = 0;
};

// Some of it, or nothing.
inline void craft(CrashDisk& disk, const WorldOptions& options, std::mt19937_64& random) {
  const bool has_room = options.create.refcount_order >= 4;
  if (!has_room || options.create.preallocation != Preallocation::kOff) {
    return;
  }
  const uint64_t clusters = options.create.size_bytes >> options.create.cluster_bits;
  if (random() % 2 == 0 && clusters > 0 && options.create.crypt == CryptMethod::kNone) {
    Crafter crafter(disk);
    for (int i = 0; i < 6; ++i) {
      crafter.add_compressed(random() % clusters, 0xc0'0000 + random() % 1000);
    }
    crafter.finish();
  }
  if (random() % 2 == 0) {
    {
      OpenImage image(std::make_shared<CrashDisk>(disk.content()), options, true);
    }
    Crafter crafter(disk);
    crafter.add_snapshot();
    crafter.finish();
  }
}

}  // namespace vmm::block::qcow2
