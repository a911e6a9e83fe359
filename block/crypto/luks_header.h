// LuksHeader: the first 592 bytes of a LUKS volume (LUKS1 On-Disk Format Specification 1.2.3, sections 3 and
// 7), parsed into what can only be valid.
//
// Threads: plain values and functions without state. Errors are sentences without the name of the file: the
// caller knows it (Error::within). Numbers on the disk are big-endian; places are in sectors of 512 bytes
// from the header's beginning.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "block/crypto/cipher_spec.h"
#include "vmm/base/error.h"

namespace vmm::block {

inline constexpr size_t kLuksHeaderBytes = 592;
inline constexpr size_t kLuksKeySlots = 8;
inline constexpr uint32_t kLuksStripes = 4000;  // of every implementation
inline constexpr size_t kLuksSaltBytes = 32;
inline constexpr size_t kLuksDigestBytes = 20;
inline constexpr uint64_t kLuksSectorBytes = 512;

struct LuksKeySlot {
  bool is_active = false;
  // The rest counts if the slot is active; key_material_sector is what the header says in any case.
  uint32_t iterations = 0;  // at least 1
  std::array<std::byte, kLuksSaltBytes> salt{};
  uint32_t key_material_sector = 0;
};

struct LuksHeader {
  CipherSpec cipher;
  Hash hash = Hash::kSha256;
  uint32_t payload_sector = 0;
  std::array<std::byte, kLuksDigestBytes> key_digest{};
  std::array<std::byte, kLuksSaltBytes> key_digest_salt{};
  uint32_t key_digest_iterations = 0;
  std::string uuid;  // printable ASCII, at most 40 characters
  std::array<LuksKeySlot, kLuksKeySlots> slots;

  uint64_t payload_offset_bytes() const { return payload_sector * kLuksSectorBytes; }
};

// Of one slot's key material, in whole sectors.
uint64_t luks_key_material_bytes(const LuksHeader& header);

// Errors: no LUKS header, LUKS2 or another version, a cipher or hash that is not supported (by name), fields
// out of range; key material that lies in the header, in the payload or in another slot's.
Result<LuksHeader> parse_luks_header(std::span<const std::byte> bytes);

// REQUIRES: header is valid.
std::array<std::byte, kLuksHeaderBytes> serialise_luks_header(const LuksHeader& header);

}  // namespace vmm::block
