// OpenSsl: the functions of OpenSSL's libcrypto that images need, loaded when the first encrypted image is
// opened.
//
// Linked in the usual way, its tables cost every start a hundred page faults, encryption or not. Threads:
// any.
#pragma once

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include <cstddef>
#include <span>

#include "vmm/base/error.h"

namespace vmm::block {

// NOLINTNEXTLINE(cppcoreguidelines-macro-usage)
#define VMM_OPENSSL_FUNCTIONS(each)                                                                         \
  each(CRYPTO_memcmp) each(CRYPTO_set_mem_functions) each(EVP_CIPHER_CTX_free) each(EVP_CIPHER_CTX_new)     \
      each(EVP_CIPHER_CTX_set_padding) each(EVP_CIPHER_fetch) each(EVP_CIPHER_free)                         \
          each(EVP_CIPHER_get_key_length) each(EVP_CipherInit_ex) each(EVP_CipherUpdate)                    \
              each(EVP_DigestFinal_ex) each(EVP_DigestInit_ex) each(EVP_DigestUpdate) each(EVP_MD_CTX_free) \
                  each(EVP_MD_CTX_new) each(EVP_md5) each(EVP_ripemd160) each(EVP_sha1) each(EVP_sha224)    \
                      each(EVP_sha256) each(EVP_sha384) each(EVP_sha512) each(OSSL_LIB_CTX_new)             \
                          each(OSSL_PROVIDER_load) each(PKCS5_PBKDF2_HMAC) each(RAND_priv_bytes)

struct OpenSsl {
// NOLINTNEXTLINE(cppcoreguidelines-macro-usage, bugprone-macro-parentheses)
#define VMM_MEMBER(name) decltype(&::name) name = nullptr;
  VMM_OPENSSL_FUNCTIONS(VMM_MEMBER)
#undef VMM_MEMBER

  // Loads the library the first time. Errors: it is not installed, or not OpenSSL 3.
  static Result<const OpenSsl*> load();
  // REQUIRES: load() succeeded before.
  static const OpenSsl& loaded();
};

// Bytes as OpenSSL takes them; nullptr: there are none.
inline const unsigned char* raw(std::span<const std::byte> bytes) {
  return bytes.empty() ? nullptr : reinterpret_cast<const unsigned char*>(bytes.data());
}
inline unsigned char* raw(std::span<std::byte> bytes) {
  return bytes.empty() ? nullptr : reinterpret_cast<unsigned char*>(bytes.data());
}

}  // namespace vmm::block
