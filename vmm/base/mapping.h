// Mapping: the owner of one mmap()ed range of our own address space.
#pragma once

#include <cstddef>
#include <span>

#include "vmm/base/error.h"

namespace vmm {

class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  // Maps length_bytes (> 0) of fd from offset_bytes (both multiples of the page size where fd is a file);
  // fd = -1 with MAP_ANONYMOUS in flags maps fresh memory. `what` names it in the error.
  static Result<Mapping> map(std::string_view what, size_t length_bytes, int protection, int flags, int fd,
                             off_t offset_bytes);

  // The same from offset 0, at an address that is a multiple of alignment_bytes (a power of two of at least
  // the page size; 0: any).
  static Result<Mapping> map_aligned(std::string_view what, size_t length_bytes, int protection, int flags,
                                     int fd, size_t alignment_bytes);

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<std::byte> bytes() const { return {data_, size_}; }

 private:
  Mapping(std::byte* data, size_t size) : data_(data), size_(size) {}
  void reset();

  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace vmm
