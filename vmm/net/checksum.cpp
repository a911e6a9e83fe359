#include "vmm/net/checksum.h"

#include <cstring>

namespace vmm::net {
namespace {

uint64_t load_word(const std::byte* at) {
  uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// Both halves: 2^32 of them fit.
uint64_t halves(uint64_t word) { return (word & 0xffff'ffff) + (word >> 32U); }

uint16_t fold(uint64_t sum) {
  sum = halves(sum);
  sum = halves(sum);
  sum = (sum & 0xffff) + (sum >> 16U);
  sum = (sum & 0xffff) + (sum >> 16U);
  return static_cast<uint16_t>(sum);
}

}  // namespace

uint16_t sum_words(std::span<const std::byte> bytes, uint16_t initial) {
  const std::byte* at = bytes.data();
  size_t left = bytes.size();
  uint64_t sums[4] = {initial, 0, 0, 0};  // apart, so that none waits for another
  for (; left >= 32; left -= 32, at += 32) {
    sums[0] += halves(load_word(at));
    sums[1] += halves(load_word(at + 8));
    sums[2] += halves(load_word(at + 16));
    sums[3] += halves(load_word(at + 24));
  }
  for (; left >= 8; left -= 8, at += 8) {
    sums[0] += halves(load_word(at));
  }
  uint64_t last = 0;
  if (left > 0) {
    std::memcpy(&last, at, left);
  }
  return fold(sums[0] + sums[1] + sums[2] + sums[3] + halves(last));
}

uint16_t load_sum(const std::byte* at) {
  uint16_t sum = 0;
  std::memcpy(&sum, at, sizeof sum);
  return sum;
}

void store_sum(std::byte* at, uint16_t sum) { std::memcpy(at, &sum, sizeof sum); }

bool complete_checksum(std::span<std::byte> bytes, size_t start, size_t offset) {
  if (start > bytes.size() || bytes.size() - start < sizeof(uint16_t) ||
      offset > bytes.size() - start - sizeof(uint16_t)) {
    return false;
  }
  const auto checksum = static_cast<uint16_t>(~sum_words(bytes.subspan(start)));
  store_sum(bytes.data() + start + offset, checksum == 0 ? uint16_t{0xffff} : checksum);
  return true;
}

}  // namespace vmm::net
