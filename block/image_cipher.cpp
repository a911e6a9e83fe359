#include "block/image_cipher.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "block/crypto/digest.h"
#include "block/crypto/locked_memory.h"
#include "block/crypto/luks.h"
#include "block/crypto/secret.h"
#include "block/crypto/sector_cipher.h"

namespace vmm::block {
namespace {

std::unexpected<Error> no_passphrase(const std::string& path) {
  return fail(
      "{} is encrypted, and no passphrase was given for it (in the domain file: <encryption> with a "
      "<secret>; "
      "vmm-img: --object secret,id=NAME,file=FILE)",
      path);
}

}  // namespace

Result<std::unique_ptr<SectorCipher>> find_luks_cipher(SyncFile& file, FileOffset header_offset,
                                                       uint64_t header_bytes,
                                                       const Passphrases& passphrases) {
  const LuksReader read = [&file, header_offset](uint64_t offset, std::span<std::byte> to) {
    return file.read(FileOffset(header_offset.bytes() + offset), to);
  };
  for (size_t i = 0; i < passphrases.size(); ++i) {
    auto opened = open_luks(read, header_bytes, *passphrases[i]);
    if (opened) {
      return std::move(opened->cipher);
    }
    if (i + 1 == passphrases.size()) {
      return std::unexpected(opened.error().within(file.path()));
    }
  }
  return no_passphrase(file.path());
}

Result<std::unique_ptr<SectorCipher>> make_random_cipher() {
  constexpr CipherSpec kSpec{
      .cipher = BlockCipher::kAes, .mode = CipherMode::kXts, .iv = IvGenerator::kPlain64};
  Secret key(kSpec.key_bytes);
  VMM_TRY(random_bytes(key.bytes()));
  VMM_ASSIGN_OR_RETURN(auto cipher, make_sector_cipher(kSpec, key.bytes(), IvSectors::kOfFile));
  if (!LockedMemory::is_all_locked()) {
    return fail(
        "a key cannot be kept out of swap space: the host lets vmm lock no more memory (raise ulimit -l)");
  }
  return cipher;
}

Result<NewCipher> make_luks_cipher(std::span<const std::byte> other, const Secret& passphrase) {
  constexpr std::chrono::milliseconds kUnlockTime(1000);
  if (other.empty()) {
    VMM_ASSIGN_OR_RETURN(NewLuks made, format_luks_for({}, kUnlockTime, passphrase));
    return NewCipher{.luks_header = std::move(made.bytes), .cipher = std::move(made.cipher)};
  }
  VMM_ASSIGN_OR_RETURN(const LuksHeader header, parse_luks_header(other));
  LuksFormat format{.cipher = header.cipher, .hash = header.hash};
  for (const LuksKeySlot& slot : header.slots) {
    format.slot_iterations = std::max(format.slot_iterations, slot.is_active ? slot.iterations : 1);
  }
  format.digest_iterations = header.key_digest_iterations;
  VMM_ASSIGN_OR_RETURN(NewLuks made, format_luks(format, passphrase));
  return NewCipher{.luks_header = std::move(made.bytes), .cipher = std::move(made.cipher)};
}

Result<std::unique_ptr<SectorCipher>> find_aes_cipher(const SyncFile& file, const Passphrases& passphrases) {
  if (passphrases.empty()) {
    return no_passphrase(file.path());
  }
  if (passphrases.size() > 1) {
    return fail("{}: the old AES encryption cannot tell which of {} passphrases is right; give that one only",
                file.path(), passphrases.size());
  }
  auto cipher = make_legacy_aes_cipher(*passphrases.front());
  if (!cipher) {
    return std::unexpected(cipher.error().within(file.path()));
  }
  return cipher;
}

}  // namespace vmm::block
