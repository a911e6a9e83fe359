#include "block/crypto/luks.h"

#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "block/crypto/digest.h"
#include "block/crypto/openssl.h"
#include "block/crypto/sector_cipher.h"
#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

uint64_t slot_rounds(const LuksHeader& header, uint32_t iterations, size_t bytes) {
  return uint64_t{iterations} * pbkdf2_blocks(hash_bytes(header.hash), bytes);
}

// The digest of the header for a master key. Section 4.2: PBKDF2 with the header's hash and salt.
Status digest_of_key(const LuksHeader& header, const Secret& key, std::span<std::byte> out) {
  return pbkdf2(header.hash, key.bytes(), header.key_digest_salt, header.key_digest_iterations, out);
}

// Key material is encrypted like the payload, with the first sector's number 0, by a key made of the
// passphrase.
Result<std::unique_ptr<SectorCipher>> slot_cipher(const LuksHeader& header, const LuksKeySlot& slot,
                                                  const Secret& passphrase) {
  Secret key(header.cipher.key_bytes);
  VMM_TRY(pbkdf2(header.hash, passphrase.bytes(), slot.salt, slot.iterations, key.bytes()));
  return make_sector_cipher(header.cipher, key.bytes(), IvSectors::kOfFile);
}

Status encryption_failed() { return fail("OpenSSL failed to encrypt or decrypt a LUKS key slot"); }

// What the slot gives for the passphrase; whether that is the master key is another question.
Result<Secret> unlock(const LuksHeader& header, const LuksKeySlot& slot, const LuksReader& read,
                      const Secret& passphrase) {
  Secret split(luks_key_material_bytes(header));
  VMM_TRY(read(slot.key_material_sector * kLuksSectorBytes, split.bytes()));
  VMM_ASSIGN_OR_RETURN(const auto cipher, slot_cipher(header, slot, passphrase));
  if (cipher->decrypt(0, split.bytes()) != IoStatus::kOk) {
    VMM_TRY(encryption_failed());
  }
  Secret key(header.cipher.key_bytes);
  VMM_TRY(af_merge(header.hash, split.bytes().first(key.size() * kLuksStripes), kLuksStripes, key.bytes()));
  return key;
}

Result<bool> is_master_key(const LuksHeader& header, const Secret& key) {
  std::array<std::byte, kLuksDigestBytes> found{};
  VMM_TRY(digest_of_key(header, key, found));
  return OpenSsl::loaded().CRYPTO_memcmp(found.data(), header.key_digest.data(), found.size()) == 0;
}

std::unexpected<Error> wrong_passphrase(const Secret& passphrase) {
  const bool ends_line = passphrase.size() > 0 && passphrase.bytes().back() == std::byte{'\n'};
  return fail("the passphrase does not open any LUKS key slot{}",
              ends_line ? "; it ends with a line feed, which counts" : "");
}

Status check_rounds(const LuksHeader& header, const LuksLimits& limits) {
  const uint64_t rounds = luks_rounds(header);
  if (rounds > limits.pbkdf2_rounds) {
    return fail("the LUKS header demands {} rounds of PBKDF2, more than the {} that are allowed", rounds,
                limits.pbkdf2_rounds);
  }
  return {};
}

Status check_material(const LuksHeader& header, uint64_t header_bytes) {
  for (size_t i = 0; i < kLuksKeySlots; ++i) {
    const uint64_t end =
        header.slots[i].key_material_sector * kLuksSectorBytes + luks_key_material_bytes(header);
    if (header.slots[i].is_active && end > header_bytes) {
      return fail("LUKS key slot {} reaches to byte {}, and the header has {}", i, end, header_bytes);
    }
  }
  return {};
}

Result<std::string> random_uuid() {
  std::array<std::byte, 16> bytes{};
  VMM_TRY(random_bytes(bytes));
  // RFC 4122, 4.4: version 4.
  bytes[6] = (bytes[6] & std::byte{0x0f}) | std::byte{0x40};
  bytes[8] = (bytes[8] & std::byte{0x3f}) | std::byte{0x80};
  const auto high = load_be<uint64_t>(bytes.data());
  const auto low = load_be<uint64_t>(bytes.data() + 8);
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32U, (high >> 16U) & 0xffff,
                     high & 0xffff, low >> 48U, low & 0xffff'ffff'ffff);
}

// Section 5, with 4 KiB alignment as qemu-img has it.
Result<LuksHeader> new_header(const LuksFormat& format, const Secret& key) {
  constexpr uint64_t kAlignmentSectors = 8;
  LuksHeader header{.cipher = format.cipher, .hash = format.hash};
  const uint64_t slot_sectors =
      align_up(luks_key_material_bytes(header) / kLuksSectorBytes, kAlignmentSectors);
  for (size_t i = 0; i < kLuksKeySlots; ++i) {
    header.slots[i].key_material_sector = static_cast<uint32_t>(kAlignmentSectors + i * slot_sectors);
  }
  header.payload_sector = static_cast<uint32_t>(kAlignmentSectors + kLuksKeySlots * slot_sectors);
  VMM_ASSIGN_OR_RETURN(header.uuid, random_uuid());
  header.key_digest_iterations = format.digest_iterations;
  VMM_TRY(random_bytes(header.key_digest_salt));
  VMM_TRY(digest_of_key(header, key, header.key_digest));
  header.slots[0].is_active = true;
  header.slots[0].iterations = format.slot_iterations;
  VMM_TRY(random_bytes(header.slots[0].salt));
  return header;
}

// Writes the key material of a slot into `material`, whole sectors.
Status fill_slot(const LuksHeader& header, const LuksKeySlot& slot, const Secret& key,
                 const Secret& passphrase, std::span<std::byte> material) {
  VMM_TRY(af_split(header.hash, key.bytes(), kLuksStripes, material.first(key.size() * kLuksStripes)));
  VMM_ASSIGN_OR_RETURN(const auto cipher, slot_cipher(header, slot, passphrase));
  return cipher->encrypt(0, material) == IoStatus::kOk ? Status() : encryption_failed();
}

}  // namespace

uint64_t luks_rounds(const LuksHeader& header) {
  const uint64_t check = slot_rounds(header, header.key_digest_iterations, kLuksDigestBytes);
  uint64_t rounds = 0;
  for (const LuksKeySlot& slot : header.slots) {
    if (slot.is_active) {
      rounds += slot_rounds(header, slot.iterations, header.cipher.key_bytes) + check;
    }
  }
  return rounds;
}

Result<OpenedLuks> open_luks(const LuksReader& read, uint64_t header_bytes, const Secret& passphrase,
                             const LuksLimits& limits) {
  if (header_bytes < kLuksHeaderBytes) {
    return fail("there is no LUKS header in {} bytes", header_bytes);
  }
  std::array<std::byte, kLuksHeaderBytes> bytes{};
  VMM_TRY(read(0, bytes));
  VMM_ASSIGN_OR_RETURN(LuksHeader header, parse_luks_header(bytes));
  VMM_TRY(check_material(header, header_bytes));
  VMM_TRY(check_rounds(header, limits));
  for (size_t i = 0; i < kLuksKeySlots; ++i) {
    if (!header.slots[i].is_active) {
      continue;
    }
    VMM_ASSIGN_OR_RETURN(const Secret key, unlock(header, header.slots[i], read, passphrase));
    VMM_ASSIGN_OR_RETURN(const bool is_key, is_master_key(header, key));
    if (is_key) {
      VMM_ASSIGN_OR_RETURN(auto cipher, make_sector_cipher(header.cipher, key.bytes(), IvSectors::kOfFile));
      return OpenedLuks{.header = std::move(header), .cipher = std::move(cipher), .slot = i};
    }
  }
  return wrong_passphrase(passphrase);
}

Result<NewLuks> format_luks(const LuksFormat& format, const Secret& passphrase) {
  VMM_TRY(check_cipher_spec(format.cipher));
  Secret key(format.cipher.key_bytes);
  VMM_TRY(random_bytes(key.bytes()));
  NewLuks made;
  VMM_ASSIGN_OR_RETURN(made.header, new_header(format, key));
  VMM_ASSIGN_OR_RETURN(made.cipher, make_sector_cipher(format.cipher, key.bytes(), IvSectors::kOfFile));
  made.bytes.resize(made.header.payload_offset_bytes());
  const auto header_bytes = serialise_luks_header(made.header);
  std::memcpy(made.bytes.data(), header_bytes.data(), header_bytes.size());
  const LuksKeySlot& slot = made.header.slots[0];
  const auto material =
      std::span(made.bytes)
          .subspan(slot.key_material_sector * kLuksSectorBytes, luks_key_material_bytes(made.header));
  if (auto filled = fill_slot(made.header, slot, key, passphrase, material); !filled) {
    ::explicit_bzero(made.bytes.data(), made.bytes.size());  // the split key may be there in clear
    return std::unexpected(std::move(filled).error());
  }
  return made;
}

Result<NewLuks> format_luks_for(LuksFormat format, std::chrono::milliseconds time, const Secret& passphrase) {
  VMM_ASSIGN_OR_RETURN(format.slot_iterations,
                       pbkdf2_iterations_for(format.hash, format.cipher.key_bytes, time));
  // As qemu-img: an eighth for the digest.
  VMM_ASSIGN_OR_RETURN(format.digest_iterations,
                       pbkdf2_iterations_for(format.hash, kLuksDigestBytes, time / 8));
  return format_luks(format, passphrase);
}

}  // namespace vmm::block
