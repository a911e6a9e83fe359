// The command set of a CD/DVD reader: what each command descriptor block comes to, given the drive's state
// (MMC-6, chapter 6; SPC-3 for INQUIRY, REQUEST SENSE and MODE SENSE; SFF-8020i for what old drivers ask).
//
// Pure: no input or output, no threads, nothing kept beside MmcState. Every block of 12 bytes has an outcome.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "devices/ide/mmc_state.h"
#include "devices/ide/sense.h"

namespace vmm::ide {

inline constexpr size_t kCdbBytes = 12;  // of an ATAPI packet

// A command descriptor block; numbers in it are big-endian.
class Cdb {
 public:
  Cdb() = default;
  // Bytes that are not there are zero.
  explicit Cdb(std::span<const std::byte> bytes);

  uint8_t opcode() const { return byte(0); }
  uint8_t byte(size_t offset) const { return bytes_[offset]; }
  bool has(size_t offset, uint8_t bit) const { return (bytes_[offset] & bit) != 0; }
  uint16_t u16(size_t offset) const;
  uint32_t u24(size_t offset) const;
  uint32_t u32(size_t offset) const;

 private:
  std::array<uint8_t, kCdbBytes> bytes_{};
};

// Done: GOOD status and no data.
struct Done {
  friend bool operator==(const Done&, const Done&) = default;
};
// Bytes for the host, no longer than it has room for; may be empty. At most kMaxReplyBytes.
struct Reply {
  std::vector<std::byte> bytes;
};
inline constexpr size_t kMaxReplyBytes = 4096;
// Blocks of the medium for the host, all of them inside it. blocks > 0.
struct ReadPlan {
  uint32_t lba = 0;
  uint32_t blocks = 0;
};
// The host is to send a parameter list, for accept_parameters(). length_bytes > 0.
struct ParameterList {
  uint16_t length_bytes = 0;
};
using Outcome = std::variant<Done, Reply, ReadPlan, ParameterList, Sense>;

// A Sense in the outcome (CHECK CONDITION) is in state.sense too.
Outcome execute(const Cdb& cdb, MmcState& state);

// The second half of a MODE SELECT: Done or Sense. Changes all that the list says, or nothing.
Outcome accept_parameters(std::span<const std::byte> list, MmcState& state);

}  // namespace vmm::ide
