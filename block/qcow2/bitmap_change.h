// Changes of the dirty bitmaps of an image that is not in use: several in a row, taken into use all at once.
//
// Standard: QEMU's docs/interop/qcow2, "Bitmaps extension" and "Bitmaps". The new directory, tables and bits
// lie in free clusters; one write of the header's first sector takes them into use, with the refcounts that
// they need (MetadataChange, HeaderSwitch). At every instant the image has the old bitmaps or the new ones,
// all of them consistent. Errors name the image and the bitmap; nothing has changed then. In memory: what is
// merged into, up to 512 MiB. Blocks; under the image's lock for writing; REQUIRES:
// prepare_for_maintenance().
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block/qcow2/bitmaps.h"
#include "block/qcow2/header.h"
#include "block/qcow2/metadata_change.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

// The bitmaps of an image, as they are or as they are to be.
class BitmapSet {
 public:
  // Reads the directory only. `file` lives as long.
  static Result<BitmapSet> read(SyncFile& file, const Header& header);

  bool has_changed() const { return has_changed_; }

  // A new one, which tracks writes; without a granularity, QEMU's choice. REQUIRES: granularity_bytes is a
  // power of two.
  Status add(const std::string& name, std::optional<uint64_t> granularity_bytes);
  Status remove(const std::string& name);
  // All bits are 0.
  Status clear(const std::string& name);
  Status set_tracking(const std::string& name, bool is_on);
  // What `source` has as dirty is dirty here too. `others` may be this set, or one of a disk of the same
  // size.
  Status merge(const std::string& name, BitmapSet& others, const std::string& source);

  // Takes them into use; where nothing has changed nothing is written. `header` follows.
  Status commit(Header& header);

 private:
  struct Entry {
    Bitmap bitmap;
    bool is_new = false;  // the file has no table of it
    bool has_new_bits = false;
    // Once the bits are of interest: the table as it is to be, but for the clusters below.
    std::optional<std::vector<uint64_t>> table;
    std::map<uint64_t, std::vector<std::byte>> clusters;  // that have changed, by index in the table
  };

  BitmapSet(SyncFile& file, const Header& header) : file_(&file), header_(header) {}
  Result<Entry*> find(const std::string& name);
  Result<Entry*> find_usable(const std::string& name);
  Status load(Entry& entry) const;
  Status check_size(const Bitmap& bitmap) const;
  Result<std::vector<std::byte>> cluster(const Entry& entry, uint64_t index) const;
  Status merge_cluster(const Entry& from, std::span<const std::byte> bytes, uint64_t first_bit,
                       Entry& to) const;
  Status set_bits(Entry& entry, uint64_t first, uint64_t end) const;
  Status give_up(const Bitmap& bitmap, const std::vector<uint64_t>& kept, MetadataChange& change) const;
  Status write(Entry& entry, MetadataChange& change) const;

  SyncFile* file_;
  Header header_;
  std::vector<Entry> entries_;
  std::vector<Bitmap> gone_;  // that the file still has
  bool has_changed_ = false;
};

}  // namespace vmm::block::qcow2
