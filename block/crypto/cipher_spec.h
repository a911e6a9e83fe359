// CipherSpec: which cipher encrypts the sectors of an image, in the words of LUKS headers and of qemu-img.
//
// Threads: plain values and functions without state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "block/crypto/digest.h"
#include "vmm/base/error.h"

namespace vmm::block {

enum class BlockCipher : uint8_t { kAes, kCast5 };

enum class CipherMode : uint8_t { kEcb, kCbc, kXts, kCtr };

enum class IvGenerator : uint8_t {
  kNone,     // ecb only
  kPlain,    // the sector's number modulo 2^32, little-endian
  kPlain64,  // the sector's number, little-endian
  kEssiv,    // the same, encrypted with the hash of the key
};

struct CipherSpec {
  BlockCipher cipher = BlockCipher::kAes;
  CipherMode mode = CipherMode::kXts;
  IvGenerator iv = IvGenerator::kPlain64;
  Hash iv_hash = Hash::kSha256;  // kEssiv only
  size_t key_bytes = 64;         // of the master key: for xts, two keys

  friend bool operator==(const CipherSpec&, const CipherSpec&) = default;
};

inline constexpr size_t kMaxKeyBytes = 64;

// From the fields of a LUKS header (1.2.3, section 7.1): "aes", "xts-plain64" or "cbc-essiv:sha256", 64.
// Errors name the cipher, mode, generator or hash that is not known here, and keys of a length that the
// cipher does not take.
Result<CipherSpec> parse_cipher_spec(std::string_view name, std::string_view mode, size_t key_bytes);

// That the parts go together: what parse_cipher_spec() checks last.
Status check_cipher_spec(const CipherSpec& spec);

// The fields of a LUKS header again.
std::string_view luks_cipher_name(const CipherSpec& spec);
std::string luks_cipher_mode(const CipherSpec& spec);

// Of the key of one block cipher: half of the master key for xts.
size_t single_key_bytes(const CipherSpec& spec);
size_t cipher_block_bytes(BlockCipher cipher);

}  // namespace vmm::block
