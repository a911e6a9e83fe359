// A kernel or initrd file: opened once, read at offsets, and copied by the kernel straight into guest memory.
//
// Threads: one at a time. The file may shrink meanwhile: that is an error, not a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"
#include "vmm/core/guest_address.h"
#include "vmm/core/guest_memory.h"

namespace vmm::boot {

class InputFile {
 public:
  // role: "kernel" or "initrd", for the errors. Regular files that are not empty only.
  static Result<InputFile> open(const std::string& path, const std::string& role);

  const std::string& path() const { return path_; }
  uint64_t size_bytes() const { return size_bytes_; }
  bool contains(uint64_t offset, uint64_t length_bytes) const {
    return offset <= size_bytes_ && length_bytes <= size_bytes_ - offset;
  }

  // REQUIRES: contains(offset, to.size()).
  Status read(uint64_t offset, std::span<std::byte> to) const;
  // REQUIRES: contains(offset, to.length_bytes). An error where the range is not wholly RAM.
  Status load(uint64_t offset, const GuestMemory& memory, GuestRange to) const;

 private:
  InputFile(UniqueFd fd, std::string path, uint64_t size_bytes)
      : fd_(std::move(fd)), path_(std::move(path)), size_bytes_(size_bytes) {}

  Status read_to(uint64_t offset, iovec to) const;

  UniqueFd fd_;
  std::string path_;
  uint64_t size_bytes_ = 0;
};

}  // namespace vmm::boot
