#include "devices/virtio/byte_stream.h"

#include <algorithm>
#include <cstring>

namespace vmm::virtio {

ByteStream::ByteStream(std::span<iovec> buffers) : buffers_(buffers) {
  for (const iovec& buffer : buffers_) {
    size_ += buffer.iov_len;
  }
}

void ByteStream::consume(size_t bytes) {
  iovec& first = buffers_.front();
  first.iov_base = static_cast<std::byte*>(first.iov_base) + bytes;
  first.iov_len -= bytes;
  size_ -= bytes;
  if (first.iov_len == 0) {
    buffers_ = buffers_.subspan(1);
  }
}

bool ByteStream::read(std::span<std::byte> to) {
  if (to.size() > size_) {
    return false;
  }
  while (!to.empty()) {
    const size_t part = std::min(to.size(), buffers_.front().iov_len);
    std::memcpy(to.data(), buffers_.front().iov_base, part);
    to = to.subspan(part);
    consume(part);
  }
  return true;
}

bool ByteStream::write(std::span<const std::byte> from) {
  if (from.size() > size_) {
    return false;
  }
  while (!from.empty()) {
    const size_t part = std::min(from.size(), buffers_.front().iov_len);
    std::memcpy(buffers_.front().iov_base, from.data(), part);
    from = from.subspan(part);
    consume(part);
  }
  return true;
}

std::optional<iovec> ByteStream::take_last_byte() {
  if (buffers_.empty()) {
    return std::nullopt;
  }
  iovec& last = buffers_.back();
  --last.iov_len;
  --size_;
  const iovec byte{.iov_base = static_cast<std::byte*>(last.iov_base) + last.iov_len, .iov_len = 1};
  if (last.iov_len == 0) {
    buffers_ = buffers_.first(buffers_.size() - 1);
  }
  return byte;
}

}  // namespace vmm::virtio
