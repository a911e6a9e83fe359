#include "block/crypto/luks_header.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::block {
namespace {

// Section 7.1, "PHDR layout".
constexpr std::array<std::byte, 6> kMagic = {std::byte{'L'}, std::byte{'U'},  std::byte{'K'},
                                             std::byte{'S'}, std::byte{0xba}, std::byte{0xbe}};
constexpr size_t kVersionAt = 6;
constexpr size_t kCipherNameAt = 8;
constexpr size_t kCipherModeAt = 40;
constexpr size_t kHashSpecAt = 72;
constexpr size_t kPayloadAt = 104;
constexpr size_t kKeyBytesAt = 108;
constexpr size_t kDigestAt = 112;
constexpr size_t kDigestSaltAt = 132;
constexpr size_t kDigestIterationsAt = 164;
constexpr size_t kUuidAt = 168;
constexpr size_t kSlotsAt = 208;
constexpr size_t kNameBytes = 32;
constexpr size_t kUuidBytes = 40;

// Section 7.2, "Key slot layout".
constexpr size_t kSlotBytes = 48;
constexpr size_t kSlotIterationsAt = 4;
constexpr size_t kSlotSaltAt = 8;
constexpr size_t kSlotMaterialAt = 40;
constexpr size_t kSlotStripesAt = 44;
constexpr uint32_t kActive = 0x00ac71f3;
constexpr uint32_t kInactive = 0x0000dead;

static_assert(kSlotsAt + kLuksKeySlots * kSlotBytes == kLuksHeaderBytes);

// A text field is filled up with zeroes, and printable: it may be shown.
std::optional<std::string> text_field(std::span<const std::byte> field, bool must_end) {
  const auto end = std::ranges::find(field, std::byte{0});
  if (must_end && end == field.end()) {
    return std::nullopt;
  }
  std::string text;
  for (auto at = field.begin(); at != end; ++at) {
    const auto character = std::to_integer<unsigned char>(*at);
    if (character < 0x20 || character > 0x7e) {
      return std::nullopt;
    }
    text.push_back(static_cast<char>(character));
  }
  return text;
}

Result<std::string> name_field(std::span<const std::byte> bytes, size_t at, std::string_view what) {
  auto text = text_field(bytes.subspan(at, kNameBytes), true);
  if (!text) {
    return fail("the {} in the LUKS header is no text", what);
  }
  return *std::move(text);
}

template <size_t kBytes>
std::array<std::byte, kBytes> bytes_field(std::span<const std::byte> bytes, size_t at) {
  std::array<std::byte, kBytes> value{};
  std::memcpy(value.data(), bytes.data() + at, kBytes);
  return value;
}

Status check_identity(std::span<const std::byte> bytes) {
  if (bytes.size() < kLuksHeaderBytes || !std::ranges::equal(bytes.first(kMagic.size()), kMagic)) {
    return fail("there is no LUKS header");
  }
  if (const auto version = load_be<uint16_t>(bytes.data() + kVersionAt); version != 1) {
    return fail("LUKS version {} is not supported; version 1 is", version);
  }
  return {};
}

Result<LuksKeySlot> parse_slot(std::span<const std::byte> bytes, size_t number) {
  LuksKeySlot slot;
  const auto state = load_be<uint32_t>(bytes.data());
  if (state != kActive && state != kInactive) {
    return fail("LUKS key slot {} is neither active nor inactive ({:#x})", number, state);
  }
  slot.is_active = state == kActive;
  slot.key_material_sector = load_be<uint32_t>(bytes.data() + kSlotMaterialAt);
  if (!slot.is_active) {
    return slot;
  }
  slot.iterations = load_be<uint32_t>(bytes.data() + kSlotIterationsAt);
  slot.salt = bytes_field<kLuksSaltBytes>(bytes, kSlotSaltAt);
  if (slot.iterations == 0 || slot.iterations > INT_MAX) {
    return fail("LUKS key slot {} has {} iterations", number, slot.iterations);
  }
  if (const auto stripes = load_be<uint32_t>(bytes.data() + kSlotStripesAt); stripes != kLuksStripes) {
    return fail("LUKS key slot {} has {} stripes, not {}", number, stripes, kLuksStripes);
  }
  return slot;
}

uint64_t material_sectors(const LuksHeader& header) {
  return luks_key_material_bytes(header) / kLuksSectorBytes;
}

Status check_places(const LuksHeader& header) {
  constexpr uint64_t kHeaderSectors = align_up(kLuksHeaderBytes, kLuksSectorBytes) / kLuksSectorBytes;
  const uint64_t length = material_sectors(header);
  for (size_t i = 0; i < kLuksKeySlots; ++i) {
    const LuksKeySlot& slot = header.slots[i];
    if (!slot.is_active) {
      continue;
    }
    if (slot.key_material_sector < kHeaderSectors) {
      return fail("LUKS key slot {} lies in the header", i);
    }
    if (slot.key_material_sector + length > header.payload_sector) {
      return fail("LUKS key slot {} lies in the payload", i);
    }
    for (size_t j = 0; j < i; ++j) {
      const uint64_t first = std::min(slot.key_material_sector, header.slots[j].key_material_sector);
      const uint64_t second = std::max(slot.key_material_sector, header.slots[j].key_material_sector);
      if (header.slots[j].is_active && second - first < length) {
        return fail("LUKS key slots {} and {} overlap", j, i);
      }
    }
  }
  return {};
}

void store_text(std::span<std::byte> field, std::string_view text) {
  VMM_CHECK(text.size() <= field.size(), "a LUKS field is too long");
  std::memcpy(field.data(), text.data(), text.size());
}

void store_slot(std::byte* at, const LuksKeySlot& slot) {
  store_be(at, slot.is_active ? kActive : kInactive);
  store_be(at + kSlotIterationsAt, slot.iterations);
  std::ranges::copy(slot.salt, at + kSlotSaltAt);
  store_be(at + kSlotMaterialAt, slot.key_material_sector);
  store_be(at + kSlotStripesAt, kLuksStripes);
}

}  // namespace

uint64_t luks_key_material_bytes(const LuksHeader& header) {
  return align_up(uint64_t{header.cipher.key_bytes} * kLuksStripes, kLuksSectorBytes);
}

Result<LuksHeader> parse_luks_header(std::span<const std::byte> bytes) {
  VMM_TRY(check_identity(bytes));
  VMM_ASSIGN_OR_RETURN(const std::string cipher_name, name_field(bytes, kCipherNameAt, "cipher"));
  VMM_ASSIGN_OR_RETURN(const std::string cipher_mode, name_field(bytes, kCipherModeAt, "cipher mode"));
  VMM_ASSIGN_OR_RETURN(const std::string hash, name_field(bytes, kHashSpecAt, "hash"));
  LuksHeader header;
  VMM_ASSIGN_OR_RETURN(header.cipher, parse_cipher_spec(cipher_name, cipher_mode,
                                                        load_be<uint32_t>(bytes.data() + kKeyBytesAt)));
  const auto found_hash = find_hash(hash);
  if (!found_hash) {
    return fail("the hash \"{}\" of the LUKS header is not supported", hash);
  }
  header.hash = *found_hash;
  header.payload_sector = load_be<uint32_t>(bytes.data() + kPayloadAt);
  header.key_digest = bytes_field<kLuksDigestBytes>(bytes, kDigestAt);
  header.key_digest_salt = bytes_field<kLuksSaltBytes>(bytes, kDigestSaltAt);
  header.key_digest_iterations = load_be<uint32_t>(bytes.data() + kDigestIterationsAt);
  if (header.key_digest_iterations == 0 || header.key_digest_iterations > INT_MAX) {
    return fail("the key digest of the LUKS header has {} iterations", header.key_digest_iterations);
  }
  auto uuid = text_field(bytes.subspan(kUuidAt, kUuidBytes), false);
  if (!uuid) {
    return fail("the UUID in the LUKS header is no text");
  }
  header.uuid = *std::move(uuid);
  for (size_t i = 0; i < kLuksKeySlots; ++i) {
    VMM_ASSIGN_OR_RETURN(header.slots[i],
                         parse_slot(bytes.subspan(kSlotsAt + i * kSlotBytes, kSlotBytes), i));
  }
  VMM_TRY(check_places(header));
  return header;
}

std::array<std::byte, kLuksHeaderBytes> serialise_luks_header(const LuksHeader& header) {
  std::array<std::byte, kLuksHeaderBytes> bytes{};
  const std::span all(bytes);
  std::ranges::copy(kMagic, bytes.begin());
  store_be(bytes.data() + kVersionAt, uint16_t{1});
  store_text(all.subspan(kCipherNameAt, kNameBytes), luks_cipher_name(header.cipher));
  store_text(all.subspan(kCipherModeAt, kNameBytes), luks_cipher_mode(header.cipher));
  store_text(all.subspan(kHashSpecAt, kNameBytes), hash_name(header.hash));
  store_be(bytes.data() + kPayloadAt, header.payload_sector);
  store_be(bytes.data() + kKeyBytesAt, static_cast<uint32_t>(header.cipher.key_bytes));
  std::ranges::copy(header.key_digest, bytes.data() + kDigestAt);
  std::ranges::copy(header.key_digest_salt, bytes.data() + kDigestSaltAt);
  store_be(bytes.data() + kDigestIterationsAt, header.key_digest_iterations);
  store_text(all.subspan(kUuidAt, kUuidBytes), header.uuid);
  for (size_t i = 0; i < kLuksKeySlots; ++i) {
    store_slot(bytes.data() + kSlotsAt + i * kSlotBytes, header.slots[i]);
  }
  return bytes;
}

}  // namespace vmm::block
