#include "vmm/base/mapping.h"

#include <sys/mman.h>

#include <cerrno>
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

void Mapping::reset() {
  if (data_ != nullptr) {
    ::munmap(std::exchange(data_, nullptr), std::exchange(size_, 0));
  }
}

}  // namespace vmm
