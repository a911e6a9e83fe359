// HeaderSwitch: another header with other extensions in place of the one that an image has, whatever crash
// comes: at every instant the file has the old one or the new one.
//
// A sector is written whole or not at all, and a header with its extensions often takes more than one. So the
// new one is written in a form that fits one sector, without the names of features, which are a courtesy; the
// name of the backing file lies where nothing of the old header does. Behind the sector that is in use then
// the rest of the usual form is written, and taken into use by a second write of the sector. Blocks; under
// the image's lock for writing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "block/qcow2/header.h"
#include "block/sync_file.h"
#include "vmm/base/error.h"

namespace vmm::block::qcow2 {

class HeaderSwitch {
 public:
  // The new header, but for its numbers, which may still change. Writes what lies behind the sector. Fails,
  // and the image has its old header, where the extensions are too long for one sector.
  static Result<HeaderSwitch> prepare(SyncFile& file, const Header& header);

  // Takes it into use. REQUIRES: what it refers to is durable, and so is prepare(): the file is synced in
  // between. Flushed.
  Status run(const Header& header);

  // Brings it into the usual form, if there is room. A failure is no failure: the header is whole without.
  void finish(const Header& header);

 private:
  struct Range {
    uint64_t begin = 0;
    uint64_t end = 0;
  };

  HeaderSwitch(SyncFile& file, std::vector<std::byte> area) : file_(&file), area_(std::move(area)) {}
  Range old_name() const;
  uint64_t old_list_end() const;
  Status place_name(const Header& header);
  bool find_gap(uint64_t from, uint64_t bytes, Range taken, uint64_t& place) const;
  Status spread_out(const Header& header);
  Status write_name(const Header& header);

  SyncFile* file_;
  std::vector<std::byte> area_;  // the header cluster as it was
  uint64_t name_offset_ = 0;     // of the backing file's name
};

// All of it, where nothing else changes. `header` follows the file.
Status switch_header(SyncFile& file, Header& header);

}  // namespace vmm::block::qcow2
