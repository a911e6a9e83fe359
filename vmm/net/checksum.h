// The internet checksum: one's complement sums of 16-bit words (RFC 1071).
//
// Sums are in the machine's byte order of words that are in the network's: what is stored as it is comes out
// right (RFC 1071, section 2 (B)). Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vmm::net {

// Folded, not complemented; an odd last byte has a zero behind it. initial: the sum of what stands before, of
// an even count of bytes.
uint16_t sum_words(std::span<const std::byte> bytes, uint16_t initial = 0);

uint16_t load_sum(const std::byte* at);
void store_sum(std::byte* at, uint16_t sum);

// Fills in a checksum whose place holds the pseudo header's sum: over all bytes from `start`. One that comes
// out as zero is stored as 0xffff, since zero says "none" in UDP (RFC 768) and is the same in TCP. False: its
// place lies beyond the bytes, which are as they were.
bool complete_checksum(std::span<std::byte> bytes, size_t start, size_t offset);

}  // namespace vmm::net
