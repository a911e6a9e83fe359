// SyncFile: an image file for steps that are done one after the other: opening, creating, checking.
//
// Blocks its thread. While a disk is in use its data go through HostFile. Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "block/engine/file_operation.h"
#include "vmm/base/error.h"

namespace vmm::block {

class SyncFile {
 public:
  virtual ~SyncFile() = default;

  // As the user knows it.
  virtual const std::string& path() const = 0;
  virtual Result<uint64_t> size() = 0;
  // Past the end of the file: zeroes.
  virtual Status read(FileOffset offset, std::span<std::byte> to) = 0;
  virtual Status write(FileOffset offset, std::span<const std::byte> from) = 0;
  virtual Status sync() = 0;
  virtual Status resize(uint64_t bytes) = 0;
  // Sets space aside for a range that reads as zeroes; with_zeroes: by writing them.
  virtual Status allocate(FileOffset offset, uint64_t bytes, bool with_zeroes);
  // Gives the space back where the file system can; contents are zeroes or unchanged afterwards.
  virtual void discard(FileOffset offset, uint64_t bytes) = 0;
};

// On a descriptor that stays open meanwhile; any alignment, with O_DIRECT too.
std::unique_ptr<SyncFile> make_sync_file(const OpenFile& file, const std::string& path);
// The same of a file that nobody reads after a crash: sync() does nothing.
std::unique_ptr<SyncFile> make_volatile_file(const OpenFile& file, const std::string& path);

}  // namespace vmm::block
