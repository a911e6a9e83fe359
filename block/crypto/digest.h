// The hashes of LUKS headers, and what is made with them: PBKDF2 (RFC 8018, 5.2) and the anti-forensic
// splitter (LUKS On-Disk Format 1.2.3, section 2.4).
//
// Threads: functions without state, any thread. Errors: what this OpenSSL does not have.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "block/crypto/secret.h"
#include "vmm/base/error.h"

namespace vmm::block {

enum class Hash : uint8_t { kMd5, kSha1, kSha224, kSha256, kSha384, kSha512, kRipemd160 };

// As they stand in a LUKS header: "sha256".
std::string_view hash_name(Hash hash);
std::optional<Hash> find_hash(std::string_view name);
// Bytes of its result.
size_t hash_bytes(Hash hash);

// REQUIRES: out.size() == hash_bytes(hash).
Status digest(Hash hash, std::span<const std::byte> data, std::span<std::byte> out);

// Blocks for a time in proportion to iterations * pbkdf2_blocks(hash, out.size()).
// REQUIRES: 1 <= iterations <= INT32_MAX; out is not empty.
Status pbkdf2(Hash hash, std::span<const std::byte> passphrase, std::span<const std::byte> salt,
              uint32_t iterations, std::span<std::byte> out);
// How often the iterations are done for a key of that length.
constexpr size_t pbkdf2_blocks(size_t digest_bytes, size_t key_bytes) {
  return (key_bytes + digest_bytes - 1) / digest_bytes;
}
// How many iterations take about `time` on this machine; at least 1000 (LUKS 1.2.3, section 6).
Result<uint32_t> pbkdf2_iterations_for(Hash hash, size_t key_bytes, std::chrono::milliseconds time);

// AFsplit and AFmerge: `stripes` parts of key.size() bytes each, of which every bit is needed.
// REQUIRES: stripes > 0; split.size() == key.size() * stripes.
Status af_split(Hash hash, std::span<const std::byte> key, uint32_t stripes, std::span<std::byte> split);
Status af_merge(Hash hash, std::span<const std::byte> split, uint32_t stripes, std::span<std::byte> key);

// From OpenSSL's generator for secrets.
Status random_bytes(std::span<std::byte> out);

}  // namespace vmm::block
