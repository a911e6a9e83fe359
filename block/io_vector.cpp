#include "block/io_vector.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace vmm::block {
namespace {

// Calls step(address, length) for each run of memory of [skip_bytes, skip_bytes + length_bytes).
template <typename Step>
void for_each_run(std::span<const iovec> buffers, uint64_t skip_bytes, uint64_t length_bytes, Step step) {
  if (length_bytes == 0) {
    return;
  }
  BufferPosition position = locate(buffers, skip_bytes);
  while (length_bytes > 0) {
    const iovec& buffer = buffers[position.index];
    const auto run =
        static_cast<size_t>(std::min<uint64_t>(buffer.iov_len - position.offset_bytes, length_bytes));
    if (run > 0) {
      step(static_cast<std::byte*>(buffer.iov_base) + position.offset_bytes, run);
    }
    length_bytes -= run;
    ++position.index;
    position.offset_bytes = 0;
  }
}

}  // namespace

BufferPosition locate(std::span<const iovec> buffers, uint64_t skip_bytes) {
  size_t index = 0;
  while (skip_bytes >= buffers[index].iov_len) {
    skip_bytes -= buffers[index].iov_len;
    ++index;
  }
  return {.index = index, .offset_bytes = static_cast<size_t>(skip_bytes)};
}

void copy_from_buffers(std::span<const iovec> buffers, uint64_t skip_bytes, std::span<std::byte> to) {
  std::byte* position = to.data();
  for_each_run(buffers, skip_bytes, to.size(), [&position](const std::byte* run, size_t length) {
    std::memcpy(position, run, length);
    position += length;
  });
}

void copy_to_buffers(std::span<const iovec> buffers, uint64_t skip_bytes, std::span<const std::byte> from) {
  const std::byte* position = from.data();
  for_each_run(buffers, skip_bytes, from.size(), [&position](std::byte* run, size_t length) {
    std::memcpy(run, position, length);
    position += length;
  });
}

void zero_buffers(std::span<const iovec> buffers, uint64_t skip_bytes) {
  uint64_t total = 0;
  for (const iovec& buffer : buffers) {
    total += buffer.iov_len;
  }
  for_each_run(buffers, skip_bytes, total - skip_bytes,
               [](std::byte* run, size_t length) { std::memset(run, 0, length); });
}

// Compared with itself, one byte on: as fast as memcmp.
bool bytes_are_zero(std::span<const std::byte> bytes) {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

bool buffers_are_zero(std::span<const iovec> buffers) {
  return std::ranges::all_of(buffers, [](const iovec& buffer) {
    return bytes_are_zero({static_cast<const std::byte*>(buffer.iov_base), buffer.iov_len});
  });
}

bool buffers_are_aligned(std::span<const iovec> buffers, size_t address_alignment, size_t length_alignment) {
  return std::ranges::all_of(buffers, [=](const iovec& buffer) {
    return (std::bit_cast<uintptr_t>(buffer.iov_base) & (address_alignment - 1)) == 0 &&
           (buffer.iov_len & (length_alignment - 1)) == 0;
  });
}

}  // namespace vmm::block
