#include "vmm/base/mapping.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace vmm {

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Mapping::~Mapping() { reset(); }

Result<Mapping> Mapping::map(std::string_view what, size_t length_bytes, int protection, int flags, int fd,
                             off_t offset_bytes) {
  void* address = ::mmap(nullptr, length_bytes, protection, flags, fd, offset_bytes);
  if (address == MAP_FAILED) {
    return fail("cannot map {} bytes of {}: {}", length_bytes, what, errno_text(errno));
  }
  return Mapping(static_cast<std::byte*>(address), length_bytes);
}

Result<Mapping> Mapping::map_aligned(std::string_view what, size_t length_bytes, int protection, int flags,
                                     int fd, size_t alignment_bytes) {
  if (alignment_bytes == 0) {
    return map(what, length_bytes, protection, flags, fd, 0);
  }
  // Reserve more address space than is wanted, map inside it, give the ends back.
  const size_t reserved_bytes = length_bytes + alignment_bytes;
  VMM_ASSIGN_OR_RETURN(Mapping reserved, map(what, reserved_bytes, PROT_NONE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  std::byte* const start = reserved.data();
  const size_t head_bytes =
      (alignment_bytes - reinterpret_cast<uintptr_t>(start) % alignment_bytes) % alignment_bytes;
  std::byte* const wanted = start + head_bytes;
  if (::mmap(wanted, length_bytes, protection, flags | MAP_FIXED, fd, 0) == MAP_FAILED) {
    return fail("cannot map {} bytes of {}: {}", length_bytes, what, errno_text(errno));
  }
  reserved.data_ = nullptr;
  if (head_bytes > 0) {
    ::munmap(start, head_bytes);
  }
  ::munmap(wanted + length_bytes, reserved_bytes - head_bytes - length_bytes);
  return Mapping(wanted, length_bytes);
}

void Mapping::reset() {
  if (data_ != nullptr) {
    ::munmap(std::exchange(data_, nullptr), std::exchange(size_, 0));
  }
}

}  // namespace vmm
