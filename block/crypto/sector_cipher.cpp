#include "block/crypto/sector_cipher.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>
#include <variant>

#include "block/crypto/evp_cipher.h"
#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::block {
namespace {

using Direction = EvpCipher::Direction;

constexpr size_t kSector = SectorCipher::kSectorBytes;
constexpr size_t kMaxBlock = 16;
using Block = std::array<std::byte, kMaxBlock>;
using SectorBytes = std::array<std::byte, kSector>;

struct Keys {
  Secret data;
  Secret tweak;  // xts
};

void xor_into(std::span<std::byte> target, std::span<const std::byte> other) {
  for (size_t i = 0; i < target.size(); ++i) {
    target[i] ^= other[i];
  }
}

// A mode that OpenSSL has for this cipher.
class NativeMode {
 public:
  static Result<NativeMode> create(const char* name, std::span<const std::byte> key) {
    VMM_ASSIGN_OR_RETURN(EvpCipher encrypt, EvpCipher::create(name, key, Direction::kEncrypt));
    VMM_ASSIGN_OR_RETURN(EvpCipher decrypt, EvpCipher::create(name, key, Direction::kDecrypt));
    return NativeMode(std::move(encrypt), std::move(decrypt));
  }
  bool run(Direction direction, std::span<const std::byte> iv, std::span<std::byte> sector) const {
    return (direction == Direction::kEncrypt ? encrypt_ : decrypt_).run(iv, sector);
  }

 private:
  NativeMode(EvpCipher encrypt, EvpCipher decrypt)
      : encrypt_(std::move(encrypt)), decrypt_(std::move(decrypt)) {}
  EvpCipher encrypt_;
  EvpCipher decrypt_;
};

// SP 800-38A, 6.5, for CAST5: the counter is the whole block, big-endian, and begins with the IV.
class CounterMode {
 public:
  static Result<CounterMode> create(const char* name, std::span<const std::byte> key) {
    VMM_ASSIGN_OR_RETURN(EvpCipher cipher, EvpCipher::create(name, key, Direction::kEncrypt));
    return CounterMode(std::move(cipher));
  }
  bool run(Direction /*direction*/, std::span<const std::byte> iv, std::span<std::byte> sector) const {
    constexpr size_t kBlock = 8;
    SectorBytes stream;
    uint64_t counter = load_be<uint64_t>(iv.data());
    for (size_t at = 0; at < kSector; at += kBlock) {
      store_be(stream.data() + at, counter++);
    }
    if (!cipher_.run({}, stream)) {
      return false;
    }
    xor_into(sector, stream);
    return true;
  }

 private:
  explicit CounterMode(EvpCipher cipher) : cipher_(std::move(cipher)) {}
  EvpCipher cipher_;
};

// IEEE 1619-2007, 5.3, for AES-192, which the standard does not name and qemu-img writes nevertheless.
class TweakedMode {
 public:
  static Result<TweakedMode> create(const char* name, std::span<const std::byte> key) {
    const size_t half = key.size() / 2;
    VMM_ASSIGN_OR_RETURN(NativeMode data, NativeMode::create(name, key.first(half)));
    VMM_ASSIGN_OR_RETURN(EvpCipher tweak, EvpCipher::create(name, key.last(half), Direction::kEncrypt));
    return TweakedMode(std::move(data), std::move(tweak));
  }
  bool run(Direction direction, std::span<const std::byte> iv, std::span<std::byte> sector) const {
    SectorBytes tweaks;
    std::memcpy(tweaks.data(), iv.data(), kMaxBlock);
    if (!tweak_.run({}, std::span(tweaks).first(kMaxBlock))) {
      return false;
    }
    for (size_t at = kMaxBlock; at < kSector; at += kMaxBlock) {
      multiply_by_alpha(tweaks.data() + at - kMaxBlock, tweaks.data() + at);
    }
    xor_into(sector, tweaks);
    const bool is_done = data_.run(direction, {}, sector);
    xor_into(sector, tweaks);
    return is_done;
  }

 private:
  TweakedMode(NativeMode data, EvpCipher tweak) : data_(std::move(data)), tweak_(std::move(tweak)) {}

  static void multiply_by_alpha(const std::byte* from, std::byte* to) {
    const auto low = load_le<uint64_t>(from);
    const auto high = load_le<uint64_t>(from + 8);
    const uint64_t reduction = (high >> 63U) != 0 ? 0x87 : 0;
    store_le(to, (low << 1U) ^ reduction);
    store_le(to + 8, (high << 1U) | (low >> 63U));
  }

  NativeMode data_;
  EvpCipher tweak_;
};

using Mode = std::variant<NativeMode, CounterMode, TweakedMode>;

class EvpSectorCipher final : public SectorCipher {
 public:
  EvpSectorCipher(const CipherSpec& spec, Mode mode, std::optional<EvpCipher> essiv, IvSectors iv_sectors)
      : mode_(std::move(mode)),
        essiv_(std::move(essiv)),
        iv_generator_(spec.iv),
        iv_bytes_(spec.mode == CipherMode::kEcb ? 0 : cipher_block_bytes(spec.cipher)),
        iv_sectors_(iv_sectors) {}

  bool uses_file_offset() const override { return iv_sectors_ == IvSectors::kOfFile; }

  IoStatus encrypt(uint64_t offset_bytes, std::span<std::byte> data) const override {
    return run(Direction::kEncrypt, offset_bytes, data);
  }
  IoStatus decrypt(uint64_t offset_bytes, std::span<std::byte> data) const override {
    return run(Direction::kDecrypt, offset_bytes, data);
  }

 private:
  IoStatus run(Direction direction, uint64_t offset_bytes, std::span<std::byte> data) const {
    VMM_CHECK(offset_bytes % kSector == 0 && data.size() % kSector == 0,
              "part of a sector was to be encrypted");
    const bool is_done = std::visit(
        [&](const auto& mode) { return run_all(mode, direction, offset_bytes / kSector, data); }, mode_);
    return is_done ? IoStatus::kOk : IoStatus::kIoError;
  }

  template <typename M>
  bool run_all(const M& mode, Direction direction, uint64_t sector, std::span<std::byte> data) const {
    Block iv{};
    for (size_t at = 0; at < data.size(); at += kSector, ++sector) {
      if (!make_iv(sector, iv) ||
          !mode.run(direction, std::span(iv).first(iv_bytes_), data.subspan(at, kSector))) {
        return false;
      }
    }
    return true;
  }

  bool make_iv(uint64_t sector, Block& iv) const {
    if (iv_bytes_ == 0) {
      return true;
    }
    iv.fill(std::byte{0});
    store_le(iv.data(), iv_generator_ == IvGenerator::kPlain ? sector & UINT32_MAX : sector);
    return !essiv_ || essiv_->run({}, std::span(iv).first(iv_bytes_));
  }

  // Constant after construction.
  Mode mode_;
  std::optional<EvpCipher> essiv_;
  IvGenerator iv_generator_;
  size_t iv_bytes_;
  IvSectors iv_sectors_;
};

std::string openssl_name(BlockCipher cipher, size_t key_bytes, std::string_view mode) {
  return cipher == BlockCipher::kAes ? fmt::format("AES-{}-{}", key_bytes * 8, mode)
                                     : fmt::format("CAST5-{}", mode);
}

Result<Mode> make_mode(const CipherSpec& spec, std::span<const std::byte> key) {
  const auto name = [&](std::string_view mode) {
    return openssl_name(spec.cipher, single_key_bytes(spec), mode);
  };
  switch (spec.mode) {
    case CipherMode::kEcb:
      return NativeMode::create(name("ECB").c_str(), key);
    case CipherMode::kCbc:
      return NativeMode::create(name("CBC").c_str(), key);
    case CipherMode::kXts:
      if (single_key_bytes(spec) == 24) {
        return TweakedMode::create(name("ECB").c_str(), key);
      }
      return NativeMode::create(name("XTS").c_str(), key);
    case CipherMode::kCtr:
      if (spec.cipher == BlockCipher::kCast5) {
        return CounterMode::create(name("ECB").c_str(), key);
      }
      return NativeMode::create(name("CTR").c_str(), key);
  }
  return fail("a cipher mode is missing here");
}

// The salt of "encrypted salt-sector IV": the cipher with the hash of the whole master key as its key.
Result<std::optional<EvpCipher>> make_essiv(const CipherSpec& spec, std::span<const std::byte> key) {
  if (spec.iv != IvGenerator::kEssiv || spec.mode == CipherMode::kEcb) {
    return std::nullopt;
  }
  Secret salt(hash_bytes(spec.iv_hash));
  VMM_TRY(digest(spec.iv_hash, key, salt.bytes()));
  VMM_ASSIGN_OR_RETURN(EvpCipher cipher,
                       EvpCipher::create(openssl_name(spec.cipher, salt.size(), "ECB").c_str(), salt.bytes(),
                                         Direction::kEncrypt));
  return cipher;
}

}  // namespace

Result<std::unique_ptr<SectorCipher>> make_sector_cipher(const CipherSpec& spec,
                                                         std::span<const std::byte> key,
                                                         IvSectors iv_sectors) {
  VMM_CHECK(key.size() == spec.key_bytes && check_cipher_spec(spec), "a key does not belong to its cipher");
  VMM_ASSIGN_OR_RETURN(Mode mode, make_mode(spec, key));
  VMM_ASSIGN_OR_RETURN(std::optional<EvpCipher> essiv, make_essiv(spec, key));
  return std::make_unique<EvpSectorCipher>(spec, std::move(mode), std::move(essiv), iv_sectors);
}

Result<std::unique_ptr<SectorCipher>> make_legacy_aes_cipher(const Secret& passphrase) {
  constexpr CipherSpec kSpec = {
      .cipher = BlockCipher::kAes, .mode = CipherMode::kCbc, .iv = IvGenerator::kPlain64, .key_bytes = 16};
  Secret key(kSpec.key_bytes);
  const size_t length = std::min(passphrase.size(), key.size());
  if (length > 0) {
    std::memcpy(key.bytes().data(), passphrase.bytes().data(), length);
  }
  return make_sector_cipher(kSpec, key.bytes(), IvSectors::kOfDisk);
}

}  // namespace vmm::block
