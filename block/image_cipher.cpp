#include "block/image_cipher.h"

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
