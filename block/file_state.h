// FileState: by what an image file is known again, and seen to be unchanged.
//
// Threads: values.
#pragma once

#include <sys/stat.h>

#include <cstdint>

namespace vmm::block {

struct FileState {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  int64_t modified_s = 0;
  int64_t modified_ns = 0;

  static FileState of(const struct stat& info) {
    return {.device = info.st_dev,
            .inode = info.st_ino,
            .size_bytes = static_cast<uint64_t>(info.st_size),
            .modified_s = info.st_mtim.tv_sec,
            .modified_ns = info.st_mtim.tv_nsec};
  }
  bool is_same_file(const FileState& other) const { return device == other.device && inode == other.inode; }
  // The same file, unchanged.
  friend bool operator==(const FileState&, const FileState&) = default;
};

}  // namespace vmm::block
