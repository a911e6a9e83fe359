// Scattered memory: the buffers of one request, seen as one run of bytes.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace vmm::block {

struct BufferPosition {
  size_t index = 0;
  size_t offset_bytes = 0;
};

// Where byte `skip_bytes` lies; never in an empty buffer. REQUIRES: skip_bytes is less than the sum of the
// buffers.
BufferPosition locate(std::span<const iovec> buffers, uint64_t skip_bytes);

// REQUIRES for each: skip_bytes + the bytes to copy is at most the sum of the buffers.
void copy_from_buffers(std::span<const iovec> buffers, uint64_t skip_bytes, std::span<std::byte> to);
void copy_to_buffers(std::span<const iovec> buffers, uint64_t skip_bytes, std::span<const std::byte> from);

// From byte skip_bytes to the end.
void zero_buffers(std::span<const iovec> buffers, uint64_t skip_bytes);

bool bytes_are_zero(std::span<const std::byte> bytes);
bool buffers_are_zero(std::span<const iovec> buffers);

// Every buffer starts at a multiple of address_alignment and is a multiple of length_alignment long (powers
// of two).
bool buffers_are_aligned(std::span<const iovec> buffers, size_t address_alignment, size_t length_alignment);

}  // namespace vmm::block
