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

constexpr uint32_t kBitmapInUse = 1U << 0U;  // not consistent: was not closed, or not tracked
constexpr uint32_t kBitmapAuto = 1U << 1U;   // tracks writes

// An entry of the directory.
struct Bitmap {
  uint64_t place = 0;  // of the entry, in the file
  uint64_t table_offset = 0;
  uint32_t table_entries = 0;
  uint32_t flags = 0;
  uint8_t type = 0;              // 1: dirty tracking
  uint8_t granularity_bits = 0;  // bytes of the disk for a bit, as a power of two
  std::vector<std::byte> extra;
  std::string name;
};

// Each entry of the directory, one after the other, in bounded memory. Without bitmaps, none.
using BitmapVisitor = std::function<Status(const Bitmap& bitmap)>;
Status visit_bitmaps(SyncFile& file, const Header& header, const BitmapVisitor& visit);

// Marks those that ought to track writes. Flushed. For images that are written to.
Status give_up_tracking_bitmaps(SyncFile& file, const Header& header);

// Whether the bitmaps can follow to this size of the disk.
Status check_bitmap_resize(SyncFile& file, const Header& header, uint64_t size_bytes);

// The bitmaps for a disk of this size, written to free clusters: what is new in them is 0. Their extension is
// to be written with replace_bitmaps() when the change is in use, and it must clear autoclear bit 0 until
// then.
Result<BitmapsExtension> resized_bitmaps(SyncFile& file, const Header& header, uint64_t size_bytes,
                                         MetadataChange& change);

// Sets autoclear bit 0 again; `header` follows. A crash before the end leaves the bitmaps inconsistent.
Status replace_bitmaps(SyncFile& file, Header& header, const BitmapsExtension& bitmaps);

}  // namespace vmm::block::qcow2
