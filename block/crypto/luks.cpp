#include "block/crypto/luks.h"

#include <algorithm>
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

struct FoundKey {
  LuksHeader header;
  Secret key;
  size_t slot = 0;
};

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

Result<LuksHeader> read_luks_header(const LuksReader& read, uint64_t header_bytes, const LuksLimits& limits) {
  if (header_bytes < kLuksHeaderBytes) {
    return fail("there is no LUKS header in {} bytes", header_bytes);
  }
  std::array<std::byte, kLuksHeaderBytes> bytes{};
  VMM_TRY(read(0, bytes));
  VMM_ASSIGN_OR_RETURN(LuksHeader header, parse_luks_header(bytes));
  VMM_TRY(check_material(header, header_bytes));
  VMM_TRY(check_rounds(header, limits));
  return header;
}

Result<FoundKey> find_key(const LuksReader& read, uint64_t header_bytes, const Secret& passphrase,
                          const LuksLimits& limits) {
  VMM_ASSIGN_OR_RETURN(LuksHeader header, read_luks_header(read, header_bytes, limits));
  for (size_t i = 0; i < kLuksKeySlots; ++i) {
    if (!header.slots[i].is_active) {
      continue;
    }
    VMM_ASSIGN_OR_RETURN(Secret key, unlock(header, header.slots[i], read, passphrase));
    VMM_ASSIGN_OR_RETURN(const bool is_key, is_master_key(header, key));
    if (is_key) {
      return FoundKey{.header = std::move(header), .key = std::move(key), .slot = i};
    }
  }
  return wrong_passphrase(passphrase);
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
LuksHeader lay_out(const LuksFormat& format) {
  constexpr uint64_t kAlignmentSectors = 8;
  LuksHeader header{.cipher = format.cipher, .hash = format.hash};
  const uint64_t slot_sectors =
      align_up(luks_key_material_bytes(header) / kLuksSectorBytes, kAlignmentSectors);
  for (size_t i = 0; i < kLuksKeySlots; ++i) {
    header.slots[i].key_material_sector = static_cast<uint32_t>(kAlignmentSectors + i * slot_sectors);
  }
  header.payload_sector = static_cast<uint32_t>(kAlignmentSectors + kLuksKeySlots * slot_sectors);
  return header;
}

Result<LuksHeader> new_header(const LuksFormat& format, const Secret& key) {
  LuksHeader header = lay_out(format);
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

Result<size_t> free_slot(const LuksHeader& header, std::optional<size_t> wanted) {
  if (wanted && (*wanted >= kLuksKeySlots || header.slots[*wanted].is_active)) {
    return *wanted >= kLuksKeySlots
               ? fail("there are LUKS key slots 0 to {}, and none has the number {}", kLuksKeySlots - 1,
                      *wanted)
               : fail("LUKS key slot {} is in use; make it inactive first, or take another one", *wanted);
  }
  for (size_t i = 0; !wanted && i < kLuksKeySlots; ++i) {
    if (!header.slots[i].is_active) {
      wanted = i;
    }
  }
  return wanted ? Result<size_t>(*wanted)
                : fail("all {} LUKS key slots are in use; make one inactive first", kLuksKeySlots);
}

Status write_luks_header(const LuksStore& store, const LuksHeader& header) {
  VMM_TRY(store.write(0, serialise_luks_header(header)));
  return store.sync();
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
  VMM_ASSIGN_OR_RETURN(FoundKey found, find_key(read, header_bytes, passphrase, limits));
  VMM_ASSIGN_OR_RETURN(auto cipher,
                       make_sector_cipher(found.header.cipher, found.key.bytes(), IvSectors::kOfFile));
  return OpenedLuks{.header = std::move(found.header), .cipher = std::move(cipher), .slot = found.slot};
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

uint64_t luks_format_bytes(const LuksFormat& format) { return lay_out(format).payload_offset_bytes(); }

// --- Key slots ---

Result<size_t> add_luks_slot(const LuksStore& store, const Secret& passphrase, const Secret& added,
                             std::optional<size_t> wanted, std::chrono::milliseconds time,
                             const LuksLimits& limits) {
  VMM_ASSIGN_OR_RETURN(FoundKey found, find_key(store.read, store.header_bytes, passphrase, limits));
  LuksHeader& header = found.header;
  VMM_ASSIGN_OR_RETURN(const size_t index, free_slot(header, wanted));
  LuksKeySlot& slot = header.slots[index];
  VMM_ASSIGN_OR_RETURN(slot.iterations, pbkdf2_iterations_for(header.hash, header.cipher.key_bytes, time));
  VMM_TRY(random_bytes(slot.salt));
  slot.is_active = true;
  // Also where the slot's key material would lie, of which nobody asked as long as it was not active.
  VMM_TRY(parse_luks_header(serialise_luks_header(header)));
  VMM_TRY(check_material(header, store.header_bytes));
  VMM_TRY(check_rounds(header, limits));
  Secret material(luks_key_material_bytes(header));
  VMM_TRY(fill_slot(header, slot, found.key, added, material.bytes()));
  slot.is_active = false;
  VMM_TRY(store.write(slot.key_material_sector * kLuksSectorBytes, material.bytes()));
  VMM_TRY(write_luks_header(store, header));
  // The rest is there: what changes now lies in one sector.
  slot.is_active = true;
  VMM_TRY(write_luks_header(store, header));
  return index;
}

Result<std::vector<size_t>> find_luks_slots(const LuksStore& store, const Secret& passphrase,
                                            const LuksLimits& limits) {
  VMM_ASSIGN_OR_RETURN(const LuksHeader header, read_luks_header(store.read, store.header_bytes, limits));
  std::vector<size_t> slots;
  for (size_t i = 0; i < kLuksKeySlots; ++i) {
    if (header.slots[i].is_active) {
      VMM_ASSIGN_OR_RETURN(const Secret key, unlock(header, header.slots[i], store.read, passphrase));
      VMM_ASSIGN_OR_RETURN(const bool is_key, is_master_key(header, key));
      slots.insert(slots.end(), is_key ? 1 : 0, i);
    }
  }
  return slots;
}

Status erase_luks_slots(const LuksStore& store, std::span<const size_t> slots, const LuksLimits& limits) {
  VMM_ASSIGN_OR_RETURN(LuksHeader header, read_luks_header(store.read, store.header_bytes, limits));
  std::vector<uint64_t> places;
  for (const size_t index : slots) {
    LuksKeySlot& slot = header.slots[index];
    if (slot.is_active) {
      places.push_back(slot.key_material_sector * kLuksSectorBytes);
    }
    slot.is_active = false;
  }
  if (std::ranges::none_of(header.slots, &LuksKeySlot::is_active)) {
    return fail(
        "no LUKS key slot would be left, and nobody could read the image again; add another passphrase "
        "first");
  }
  VMM_TRY(write_luks_header(store, header));
  std::vector<std::byte> noise(luks_key_material_bytes(header));
  for (const uint64_t place : places) {
    VMM_TRY(random_bytes(noise));
    VMM_TRY(store.write(place, noise));
  }
  for (const size_t index : slots) {
    header.slots[index].iterations = 0;
    header.slots[index].salt = {};
  }
  return write_luks_header(store, header);
}

}  // namespace vmm::block
