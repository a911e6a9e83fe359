// EvpCipher: one direction of one cipher of OpenSSL with one key, without padding.
//
// Threads: one at a time. No allocation after creation.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "block/crypto/openssl.h"
#include "vmm/base/error.h"

namespace vmm::block {

class EvpCipher {
 public:
  enum class Direction : unsigned char { kDecrypt, kEncrypt };

  // `name` as OpenSSL calls it: "AES-256-XTS". Errors: this OpenSSL does not have it, or refuses the key.
  static Result<EvpCipher> create(const char* name, std::span<const std::byte> key, Direction direction);

  // In place, beginning with `iv` (empty for ciphers without one). REQUIRES: data.size() is a multiple of the
  // cipher's block, and at most INT_MAX. False: OpenSSL failed; the contents of data are undefined.
  bool run(std::span<const std::byte> iv, std::span<std::byte> data) const;

 private:
  struct Free {
    void operator()(EVP_CIPHER_CTX* context) const {
      OpenSsl::loaded().EVP_CIPHER_CTX_free(context);  // wipes the key
    }
  };
  using Context = std::unique_ptr<EVP_CIPHER_CTX, Free>;

  explicit EvpCipher(Context context) : context_(std::move(context)) {}

  Context context_;
};

}  // namespace vmm::block
