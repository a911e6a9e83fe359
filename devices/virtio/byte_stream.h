// ByteStream: the readable or the writable half of a descriptor chain, as one stream of bytes, whatever the
// descriptor boundaries are (virtio 1.2, section 2.7.4: "message framing").
//
// The bytes belong to a running guest: read() copies them out once, write() copies in; the buffers that are
// left go to the kernel. Nothing is looked at in place.
//
// Threads: the device's I/O thread. Valid until the chain is given back to its queue.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace vmm::virtio {

class ByteStream {
 public:
  ByteStream() = default;
  // REQUIRES: no buffer is empty; the sum of lengths fits in 64 bits. The array is changed as bytes are
  // consumed.
  explicit ByteStream(std::span<iovec> buffers);

  uint64_t size() const { return size_; }
  std::span<const iovec> buffers() const { return buffers_; }

  // Takes bytes off the front. False, and nothing done, where there are not as many.
  [[nodiscard]] bool read(std::span<std::byte> to);
  [[nodiscard]] bool write(std::span<const std::byte> from);

  // Takes the last byte off; nothing where the stream is empty.
  std::optional<iovec> take_last_byte();

 private:
  void consume(size_t bytes);  // of the first buffer

  std::span<iovec> buffers_;
  uint64_t size_ = 0;
};

}  // namespace vmm::virtio
