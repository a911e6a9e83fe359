// Persistent dirty bitmaps. Nothing here tracks writes: a bitmap that ought to is marked as inconsistent
// before the disk is written to; the others stay valid, and follow when the disk gets another size.
//
// Standard: QEMU's docs/interop/qcow2, "Bitmaps extension" and "Bitmaps". Header::bitmaps is there only while
// autoclear bit 0 says that they are consistent. Blocks; under the image's lock. Errors name the image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "block/qcow2/header.h"
#include "block/qcow2/metadata_change.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

constexpr size_t kBitmapEntryBytes = 24;     // of the directory, without extra data and name
constexpr uint32_t kBitmapInUse = 1U << 0U;  // not consistent: was not closed, or not tracked
constexpr uint32_t kBitmapAuto = 1U << 1U;   // tracks writes

constexpr uint8_t kDirtyTracking = 1;   // the one type that there is
constexpr uint64_t kBitmapAllOnes = 1;  // in an entry of a bitmap table without a cluster

// QEMU's limits.
constexpr size_t kMaxBitmapNameBytes = 1023;
constexpr uint32_t kMaxBitmaps = 65535;
constexpr uint8_t kMinBitmapGranularityBits = 9;
constexpr uint8_t kMaxBitmapGranularityBits = 31;
constexpr uint64_t kMaxBitmapBytes = uint64_t{512} << 20U;
// What is read at once here.
constexpr uint64_t kMaxBitmapTableBytes = uint64_t{8} << 20U;
constexpr uint64_t kMaxBitmapDirectoryInMemory = uint64_t{1} << 20U;

// An entry of the directory.
struct Bitmap {
  uint64_t place = 0;  // of the entry, in the file
  uint64_t table_offset = 0;
  uint32_t table_entries = 0;
  uint32_t flags = 0;
  uint8_t type = kDirtyTracking;
  uint8_t granularity_bits = 0;  // bytes of the disk for a bit, as a power of two
  std::vector<std::byte> extra;
  std::string name;
};

// For a disk of this size.
uint64_t bits_for(const Bitmap& bitmap, uint64_t size_bytes);
uint64_t table_entries_for(const Header& header, const Bitmap& bitmap, uint64_t size_bytes);

// Appends the entry, padded; its place does not count.
void put_entry(std::vector<std::byte>& to, const Bitmap& bitmap);

// Each entry of the directory, one after the other, in bounded memory. Without bitmaps, none.
using BitmapVisitor = std::function<Status(const Bitmap& bitmap)>;
Status visit_bitmaps(SyncFile& file, const Header& header, const BitmapVisitor& visit);

// Marks those that ought to track writes. Flushed. For images that are written to.
Status give_up_tracking_bitmaps(SyncFile& file, const Header& header);

// Whether the bitmaps can follow to this size of the disk.
Status check_bitmap_resize(SyncFile& file, const Header& header, uint64_t size_bytes);

// The bitmaps for a disk of this size, written to free clusters: what is new in them is 0. Their extension is
// to be taken into use with the change.
Result<BitmapsExtension> resized_bitmaps(SyncFile& file, const Header& header, uint64_t size_bytes,
                                         MetadataChange& change);

}  // namespace vmm::block::qcow2
