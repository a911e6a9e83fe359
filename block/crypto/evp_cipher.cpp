#include "block/crypto/evp_cipher.h"

namespace vmm::block {
namespace {

struct FreeCipher {
  void operator()(EVP_CIPHER* cipher) const { OpenSsl::loaded().EVP_CIPHER_free(cipher); }
};
using Cipher = std::unique_ptr<EVP_CIPHER, FreeCipher>;

// Old ciphers, among them CAST5, are in a provider that OpenSSL 3 loads only when asked. Asked in a library
// context of its own, because loading it would unload the default provider of the program's.
Cipher fetch_legacy(const OpenSsl& ssl, const char* name) {
  struct Legacy {
    explicit Legacy(const OpenSsl& ssl)
        : context(ssl.OSSL_LIB_CTX_new()),
          provider(context != nullptr ? ssl.OSSL_PROVIDER_load(context, "legacy") : nullptr) {}
    OSSL_LIB_CTX* context;
    OSSL_PROVIDER* provider;
  };
  static const Legacy kLegacy(ssl);
  return kLegacy.provider != nullptr ? Cipher(ssl.EVP_CIPHER_fetch(kLegacy.context, name, nullptr)) : nullptr;
}

Cipher fetch(const OpenSsl& ssl, const char* name) {
  Cipher cipher(ssl.EVP_CIPHER_fetch(nullptr, name, nullptr));
  return cipher != nullptr ? std::move(cipher) : fetch_legacy(ssl, name);
}

}  // namespace

Result<EvpCipher> EvpCipher::create(const char* name, std::span<const std::byte> key, Direction direction) {
  VMM_ASSIGN_OR_RETURN(const OpenSsl* ssl, OpenSsl::load());
  const Cipher cipher = fetch(*ssl, name);
  if (cipher == nullptr) {
    return fail("the OpenSSL of this host does not have the cipher {}", name);
  }
  Context context(ssl->EVP_CIPHER_CTX_new());
  const int encrypts = direction == Direction::kEncrypt ? 1 : 0;
  if (context == nullptr || static_cast<size_t>(ssl->EVP_CIPHER_get_key_length(cipher.get())) != key.size() ||
      ssl->EVP_CipherInit_ex(context.get(), cipher.get(), nullptr, raw(key), nullptr, encrypts) != 1 ||
      ssl->EVP_CIPHER_CTX_set_padding(context.get(), 0) != 1) {
    return fail("OpenSSL does not take the key for the cipher {}", name);
  }
  return EvpCipher(std::move(context));
}

bool EvpCipher::run(std::span<const std::byte> iv, std::span<std::byte> data) const {
  const OpenSsl& ssl = OpenSsl::loaded();
  auto* bytes = reinterpret_cast<unsigned char*>(data.data());
  const int length = static_cast<int>(data.size());
  int done = 0;
  return ssl.EVP_CipherInit_ex(context_.get(), nullptr, nullptr, nullptr, raw(iv), -1) == 1 &&
         ssl.EVP_CipherUpdate(context_.get(), bytes, &done, bytes, length) == 1 && done == length;
}

}  // namespace vmm::block
