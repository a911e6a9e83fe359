// Sources: disks one behind the other, read as one, and what is known of it without reading.
//
// Threads: one, that of the disks' loop, which runs while a step is waited for.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "block/copy/disk.h"
#include "vmm/base/error.h"

namespace vmm::block {

class HostFile;

class Sources {
 public:
  enum class Kind : uint8_t {
    kData,
    kZeroes,
    kNothing,  // the disk's own image has nothing there, and stands on another one
  };
  struct Run {
    Kind kind = Kind::kData;
    uint64_t length = 0;
    bool is_present =
        true;            // some image of the disk has something there, be it zeroes, or hides what is below
    bool is_own = true;  // the disk's own image has it
    // Where the bytes lie as they are, if anywhere.
    const HostFile* file = nullptr;
    std::optional<FileOffset> offset;
  };
  // A part of a range, in one of the disks; disk nullptr: zeroes behind a disk that ends within a sector.
  struct Part {
    Disk* disk = nullptr;
    uint64_t offset = 0;
    uint64_t length = 0;
  };

  // Of the disk, the bytes from `first` up to `end` or its end.
  void add(std::unique_ptr<Disk> disk, uint64_t first = 0, uint64_t end = UINT64_MAX);

  // A multiple of 512.
  uint64_t size_bytes() const { return disks_.empty() ? 0 : disks_.back().end; }
  bool can_accept() const;

  // The first part of [offset, offset + length). with_own_only: what comes from a backing file is kNothing.
  // REQUIRES: the range is not empty and lies below size_bytes().
  Result<Run> run_at(uint64_t offset, uint64_t length, bool with_own_only);
  Part first_part(uint64_t offset, uint64_t length) const;

 private:
  struct Entry {
    std::unique_ptr<Disk> disk;
    uint64_t first = 0;       // of the disk
    uint64_t disk_bytes = 0;  // from there on
    uint64_t begin = 0;
    uint64_t end = 0;
  };
  std::vector<Entry> disks_;
};

}  // namespace vmm::block
