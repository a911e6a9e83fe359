#include "block/crypto/digest.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <memory>
#include <utility>

#include "block/crypto/openssl.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::block {
namespace {

struct HashFacts {
  Hash hash;
  std::string_view name;
  size_t bytes;
  const EVP_MD* (*OpenSsl::*evp)();
};

// RIPEMD-160 and MD5 are in OpenSSL's default provider, but an administrator may have taken them out.
constexpr std::array<HashFacts, 7> kHashes = {{{Hash::kMd5, "md5", 16, &OpenSsl::EVP_md5},
                                               {Hash::kSha1, "sha1", 20, &OpenSsl::EVP_sha1},
                                               {Hash::kSha224, "sha224", 28, &OpenSsl::EVP_sha224},
                                               {Hash::kSha256, "sha256", 32, &OpenSsl::EVP_sha256},
                                               {Hash::kSha384, "sha384", 48, &OpenSsl::EVP_sha384},
                                               {Hash::kSha512, "sha512", 64, &OpenSsl::EVP_sha512},
                                               {Hash::kRipemd160, "ripemd160", 20, &OpenSsl::EVP_ripemd160}}};

const EVP_MD* evp_of(const OpenSsl& ssl, const HashFacts& facts) { return (ssl.*facts.evp)(); }

const HashFacts& facts(Hash hash) { return kHashes[static_cast<size_t>(hash)]; }

std::unexpected<Error> unavailable(Hash hash) {
  return fail("the hash {} does not work with the OpenSSL of this host", hash_name(hash));
}

// One state for many digests: AFmerge makes tens of thousands.
class Hasher {
 public:
  explicit Hasher(Hash hash) : hash_(hash) {}

  Status run(std::span<const std::byte> first, std::span<const std::byte> second, std::span<std::byte> out) {
    VMM_ASSIGN_OR_RETURN(const OpenSsl* ssl, OpenSsl::load());
    if (context_ == nullptr) {
      context_.reset(ssl->EVP_MD_CTX_new());
    }
    unsigned length = 0;
    if (context_ == nullptr ||
        ssl->EVP_DigestInit_ex(context_.get(), evp_of(*ssl, facts(hash_)), nullptr) != 1 ||
        ssl->EVP_DigestUpdate(context_.get(), first.data(), first.size()) != 1 ||
        ssl->EVP_DigestUpdate(context_.get(), second.data(), second.size()) != 1 ||
        ssl->EVP_DigestFinal_ex(context_.get(), raw(out), &length) != 1 || length != out.size()) {
      return unavailable(hash_);
    }
    return {};
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { OpenSsl::loaded().EVP_MD_CTX_free(context); }
  };
  Hash hash_;
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

// H1 of the specification: the block is cut into pieces of the hash's size, each replaced by the hash of its
// big-endian number and itself; of the last, what there is room for.
Status diffuse(Hasher& hasher, size_t digest_bytes, std::span<std::byte> block) {
  std::array<std::byte, EVP_MAX_MD_SIZE> result{};
  for (size_t at = 0, number = 0; at < block.size(); at += digest_bytes, ++number) {
    const auto piece = block.subspan(at, std::min(digest_bytes, block.size() - at));
    std::array<std::byte, 4> prefix{};
    store_be(prefix.data(), static_cast<uint32_t>(number));
    VMM_TRY(hasher.run(prefix, piece, std::span(result).first(digest_bytes)));
    std::memcpy(piece.data(), result.data(), piece.size());
  }
  return {};
}

void xor_into(std::span<std::byte> target, std::span<const std::byte> other) {
  for (size_t i = 0; i < target.size(); ++i) {
    target[i] ^= other[i];
  }
}

// What all stripes but the last come to.
Status accumulate(Hash hash, std::span<const std::byte> split, uint32_t stripes, std::span<std::byte> sum) {
  Hasher hasher(hash);
  std::ranges::fill(sum, std::byte{0});
  for (size_t i = 0; i + 1 < stripes; ++i) {
    xor_into(sum, split.subspan(i * sum.size(), sum.size()));
    VMM_TRY(diffuse(hasher, hash_bytes(hash), sum));
  }
  return {};
}

std::chrono::nanoseconds thread_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace

std::string_view hash_name(Hash hash) { return facts(hash).name; }

std::optional<Hash> find_hash(std::string_view name) {
  const auto* found = std::ranges::find(kHashes, name, &HashFacts::name);
  return found == kHashes.end() ? std::nullopt : std::optional(found->hash);
}

size_t hash_bytes(Hash hash) { return facts(hash).bytes; }

Status digest(Hash hash, std::span<const std::byte> data, std::span<std::byte> out) {
  VMM_CHECK(out.size() == hash_bytes(hash), "a digest of another size was asked for");
  return Hasher(hash).run(data, {}, out);
}

Status pbkdf2(Hash hash, std::span<const std::byte> passphrase, std::span<const std::byte> salt,
              uint32_t iterations, std::span<std::byte> out) {
  VMM_CHECK(iterations >= 1 && iterations <= INT_MAX && !out.empty(), "PBKDF2 cannot do that");
  VMM_ASSIGN_OR_RETURN(const OpenSsl* ssl, OpenSsl::load());
  if (ssl->PKCS5_PBKDF2_HMAC(reinterpret_cast<const char*>(passphrase.data()),
                             static_cast<int>(passphrase.size()), raw(salt), static_cast<int>(salt.size()),
                             static_cast<int>(iterations), evp_of(*ssl, facts(hash)),
                             static_cast<int>(out.size()), raw(out)) != 1) {
    return unavailable(hash);
  }
  return {};
}

Result<uint32_t> pbkdf2_iterations_for(Hash hash, size_t key_bytes, std::chrono::milliseconds time) {
  constexpr std::chrono::nanoseconds kLongEnough = std::chrono::milliseconds(50);
  constexpr uint32_t kLeast = 1000;
  constexpr uint32_t kMost = UINT32_C(1) << 26U;  // what opening a header allows for one key slot
  constexpr std::array<std::byte, 32> kSalt{};
  Secret key(key_bytes);
  for (uint32_t count = kLeast; count < kMost; count *= 2) {
    const auto start = thread_time();
    VMM_TRY(pbkdf2(hash, kSalt, kSalt, count, key.bytes()));
    const auto taken = thread_time() - start;
    if (taken >= kLongEnough) {
      const double wanted = static_cast<double>(count) * (std::chrono::duration<double>(time) / taken);
      return static_cast<uint32_t>(std::clamp(wanted, double{kLeast}, double{kMost}));
    }
  }
  return kMost;
}

Status af_split(Hash hash, std::span<const std::byte> key, uint32_t stripes, std::span<std::byte> split) {
  VMM_CHECK(stripes > 0 && split.size() == key.size() * stripes, "a split key has another size");
  VMM_TRY(random_bytes(split.first(split.size() - key.size())));
  const auto last = split.last(key.size());
  VMM_TRY(accumulate(hash, split, stripes, last));
  xor_into(last, key);
  return {};
}

Status af_merge(Hash hash, std::span<const std::byte> split, uint32_t stripes, std::span<std::byte> key) {
  VMM_CHECK(stripes > 0 && split.size() == key.size() * stripes, "a split key has another size");
  VMM_TRY(accumulate(hash, split, stripes, key));
  xor_into(key, split.last(key.size()));
  return {};
}

Status random_bytes(std::span<std::byte> out) {
  VMM_ASSIGN_OR_RETURN(const OpenSsl* ssl, OpenSsl::load());
  if (ssl->RAND_priv_bytes(raw(out), static_cast<int>(out.size())) != 1) {
    return fail("OpenSSL has no random bytes for a key");
  }
  return {};
}

}  // namespace vmm::block
