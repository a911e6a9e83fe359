#include "block/crypto/cipher_spec.h"

#include <algorithm>
#include <array>
#include <utility>

namespace vmm::block {
namespace {

constexpr std::array<std::pair<std::string_view, CipherMode>, 4> kModes = {{{"ecb", CipherMode::kEcb},
                                                                            {"cbc", CipherMode::kCbc},
                                                                            {"xts", CipherMode::kXts},
                                                                            {"ctr", CipherMode::kCtr}}};

constexpr std::array<std::pair<std::string_view, IvGenerator>, 4> kGenerators = {
    {{"", IvGenerator::kNone},
     {"plain", IvGenerator::kPlain},
     {"plain64", IvGenerator::kPlain64},
     {"essiv", IvGenerator::kEssiv}}};

template <typename T, size_t kCount>
std::optional<T> find(const std::array<std::pair<std::string_view, T>, kCount>& names,
                      std::string_view name) {
  const auto* found = std::ranges::find(names, name, [](const auto& entry) { return entry.first; });
  return found == names.end() ? std::nullopt : std::optional(found->second);
}

template <typename T, size_t kCount>
std::string_view name_of(const std::array<std::pair<std::string_view, T>, kCount>& names, T value) {
  return std::ranges::find(names, value, [](const auto& entry) { return entry.second; })->first;
}

// The part before the first `separator`, and what follows it (empty where there is none).
std::pair<std::string_view, std::string_view> cut(std::string_view text, char separator) {
  const size_t at = text.find(separator);
  return at == std::string_view::npos ? std::pair(text, std::string_view())
                                      : std::pair(text.substr(0, at), text.substr(at + 1));
}

bool takes_key(BlockCipher cipher, size_t bytes) {
  switch (cipher) {
    case BlockCipher::kAes:
      return bytes == 16 || bytes == 24 || bytes == 32;
    case BlockCipher::kCast5:
      return bytes == 16;
  }
  return false;
}

}  // namespace

Result<CipherSpec> parse_cipher_spec(std::string_view name, std::string_view mode, size_t key_bytes) {
  CipherSpec spec;
  spec.key_bytes = key_bytes;
  if (name == "aes") {
    spec.cipher = BlockCipher::kAes;
  } else if (name == "cast5") {
    spec.cipher = BlockCipher::kCast5;
  } else {
    return fail("the cipher \"{}\" is not supported; aes and cast5 are", name);
  }
  const auto [mode_name, iv] = cut(mode, '-');
  const auto [generator_name, hash] = cut(iv, ':');
  const auto found_mode = find(kModes, mode_name);
  if (!found_mode) {
    return fail("the cipher mode \"{}\" is not supported; xts, cbc, ctr and ecb are", mode_name);
  }
  spec.mode = *found_mode;
  const auto generator = find(kGenerators, generator_name);
  if (!generator) {
    return fail("the IV generator \"{}\" is not supported; plain, plain64 and essiv are", generator_name);
  }
  spec.iv = *generator;
  if (spec.iv == IvGenerator::kEssiv) {
    const auto found_hash = find_hash(hash);
    if (!found_hash) {
      return fail("the hash \"{}\" of the IV generator essiv is not supported", hash);
    }
    spec.iv_hash = *found_hash;
  } else if (!hash.empty()) {
    return fail("the IV generator {} takes no hash, and \"{}\" is given", generator_name, hash);
  }
  VMM_TRY(check_cipher_spec(spec));
  return spec;
}

Status check_cipher_spec(const CipherSpec& spec) {
  if (spec.mode == CipherMode::kXts && cipher_block_bytes(spec.cipher) != 16) {
    return fail("the cipher {} has no mode xts, which needs blocks of 16 bytes", luks_cipher_name(spec));
  }
  const bool is_odd_xts = spec.mode == CipherMode::kXts && spec.key_bytes % 2 != 0;
  if (!takes_key(spec.cipher, single_key_bytes(spec)) || is_odd_xts) {
    return fail("the cipher {}-{} takes no key of {} bytes", luks_cipher_name(spec),
                name_of(kModes, spec.mode), spec.key_bytes);
  }
  if (spec.iv == IvGenerator::kNone && spec.mode != CipherMode::kEcb) {
    return fail("the cipher mode {} needs an IV generator", name_of(kModes, spec.mode));
  }
  if (spec.iv == IvGenerator::kEssiv && !takes_key(spec.cipher, hash_bytes(spec.iv_hash))) {
    return fail("the IV generator essiv cannot use the hash {} with the cipher {}: its {} bytes are no key",
                hash_name(spec.iv_hash), luks_cipher_name(spec), hash_bytes(spec.iv_hash));
  }
  return {};
}

std::string_view luks_cipher_name(const CipherSpec& spec) {
  switch (spec.cipher) {
    case BlockCipher::kAes:
      return "aes";
    case BlockCipher::kCast5:
      return "cast5";
  }
  return "";
}

std::string luks_cipher_mode(const CipherSpec& spec) {
  std::string text(name_of(kModes, spec.mode));
  if (spec.iv != IvGenerator::kNone) {
    text.append("-").append(name_of(kGenerators, spec.iv));
  }
  if (spec.iv == IvGenerator::kEssiv) {
    text.append(":").append(hash_name(spec.iv_hash));
  }
  return text;
}

size_t single_key_bytes(const CipherSpec& spec) {
  return spec.mode == CipherMode::kXts ? spec.key_bytes / 2 : spec.key_bytes;
}

size_t cipher_block_bytes(BlockCipher cipher) { return cipher == BlockCipher::kAes ? 16 : 8; }

}  // namespace vmm::block
