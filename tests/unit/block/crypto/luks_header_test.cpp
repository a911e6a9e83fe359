// LUKS headers: every field out of range is refused in words.
#include "block/crypto/luks_header.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <string>

#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

using testing::HasSubstr;

using Bytes = std::array<std::byte, kLuksHeaderBytes>;

// As qemu-img lays it out: AES-256-XTS, 504 sectors for each slot.
LuksHeader example() {
  LuksHeader header;
  header.payload_sector = 8 + 8 * 504;
  header.key_digest_iterations = 1000;
  header.uuid = "12345678-1234-4234-8234-123456789abc";
  for (uint32_t i = 0; i < kLuksKeySlots; ++i) {
    header.slots[i].key_material_sector = 8 + i * 504;
  }
  header.slots[0].is_active = true;
  header.slots[0].iterations = 2000;
  header.slots[3].is_active = true;
  header.slots[3].iterations = 3000;
  header.slots[3].salt.fill(std::byte{0x5a});
  return header;
}

std::string refusal_of(const std::function<void(Bytes&)>& change) {
  Bytes bytes = serialise_luks_header(example());
  change(bytes);
  const auto header = parse_luks_header(bytes);
  return header ? "taken" : header.error().message();
}

auto put(size_t at, uint32_t value) {
  return [=](Bytes& bytes) { store_be(bytes.data() + at, value); };
}
auto text(size_t at, std::string_view value) {
  return [=](Bytes& bytes) {
    std::ranges::fill(std::span(bytes).subspan(at, 32), std::byte{0});
    std::ranges::copy(as_bytes(value), bytes.begin() + static_cast<ptrdiff_t>(at));
  };
}
constexpr size_t slot_field(size_t slot, size_t field) { return 208 + slot * 48 + field; }

TEST(LuksHeader, IsReadAsItWasWritten) {
  const auto header = parse_luks_header(serialise_luks_header(example()));
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->cipher, example().cipher);
  EXPECT_EQ(header->hash, Hash::kSha256);
  EXPECT_EQ(header->payload_offset_bytes(), 4040U * 512);
  EXPECT_EQ(header->key_digest_iterations, 1000U);
  EXPECT_EQ(header->uuid, example().uuid);
  EXPECT_FALSE(header->slots[1].is_active);
  EXPECT_TRUE(header->slots[3].is_active);
  EXPECT_EQ(header->slots[3].iterations, 3000U);
  EXPECT_EQ(header->slots[3].salt, example().slots[3].salt);
  EXPECT_EQ(header->slots[3].key_material_sector, 8U + 3 * 504);
  EXPECT_EQ(luks_key_material_bytes(*header), 256'000U);
}

TEST(LuksHeader, OtherMagicVersionOrLengthIsRefused) {
  EXPECT_THAT(refusal_of(put(0, 0)), HasSubstr("no LUKS header"));
  EXPECT_THAT(refusal_of([](Bytes& bytes) { store_be(bytes.data() + 6, uint16_t{2}); }),
              HasSubstr("LUKS version 2 is not supported"));
  const Bytes bytes = serialise_luks_header(example());
  EXPECT_FALSE(parse_luks_header(std::span(bytes).first(591)));
  EXPECT_FALSE(parse_luks_header({}));
}

TEST(LuksHeader, CipherModeHashAndKeyOfAnotherKindAreNamed) {
  EXPECT_THAT(refusal_of(text(8, "twofish")), HasSubstr("twofish"));
  EXPECT_THAT(refusal_of(text(40, "lrw-benbi")), HasSubstr("lrw"));
  EXPECT_THAT(refusal_of(text(72, "whirlpool")), HasSubstr("whirlpool"));
  EXPECT_THAT(refusal_of(put(108, 20)), HasSubstr("no key of 20 bytes"));
  EXPECT_THAT(refusal_of(put(108, 0xffffffff)), HasSubstr("no key of 4294967295 bytes"));
}

TEST(LuksHeader, TextThatDoesNotEndOrIsNotPrintableIsRefused) {
  EXPECT_THAT(refusal_of(text(8, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
              HasSubstr("cipher in the LUKS header"));
  EXPECT_THAT(refusal_of(text(72, "sha\x1b[2J")), HasSubstr("hash in the LUKS header"));
  EXPECT_THAT(refusal_of(put(168, 0x0a0a0a0a)), HasSubstr("UUID"));
}

TEST(LuksHeader, IterationsAreBounded) {
  EXPECT_THAT(refusal_of(put(164, 0)), HasSubstr("digest of the LUKS header has 0"));
  EXPECT_THAT(refusal_of(put(164, 0x80000000)), HasSubstr("2147483648 iterations"));
  EXPECT_THAT(refusal_of(put(slot_field(3, 4), 0)), HasSubstr("slot 3 has 0 iterations"));
  EXPECT_THAT(refusal_of(put(slot_field(0, 4), 0xffffffff)), HasSubstr("slot 0 has 4294967295"));
}

TEST(LuksHeader, SlotsOutOfPlaceAreRefused) {
  EXPECT_THAT(refusal_of(put(slot_field(7, 0), 1)), HasSubstr("slot 7 is neither active nor inactive"));
  EXPECT_THAT(refusal_of(put(slot_field(3, 44), 0)), HasSubstr("slot 3 has 0 stripes"));
  EXPECT_THAT(refusal_of(put(slot_field(3, 44), 0xffffffff)), HasSubstr("4294967295 stripes"));
  EXPECT_THAT(refusal_of(put(slot_field(0, 40), 1)), HasSubstr("slot 0 lies in the header"));
  EXPECT_THAT(refusal_of(put(slot_field(3, 40), 0xffffffff)), HasSubstr("slot 3 lies in the payload"));
  EXPECT_THAT(refusal_of(put(slot_field(3, 40), 4040 - 499)), HasSubstr("slot 3 lies in the payload"));
  EXPECT_THAT(refusal_of(put(slot_field(3, 40), 8 + 499)), HasSubstr("slots 0 and 3 overlap"));
  EXPECT_THAT(refusal_of(put(104, 0)), HasSubstr("lies in the payload"));
}

TEST(LuksHeader, SlotsMayTouch) {
  EXPECT_EQ(refusal_of(put(slot_field(3, 40), 8 + 500)), "taken");
  EXPECT_EQ(refusal_of(put(slot_field(3, 40), 4040 - 500)), "taken");
}

TEST(LuksHeader, FieldsOfInactiveSlotsDoNotCount) {
  EXPECT_EQ(refusal_of(put(slot_field(5, 40), 0xffffffff)), "taken");
  EXPECT_EQ(refusal_of(put(slot_field(5, 44), 7)), "taken");
}

}  // namespace
}  // namespace vmm::block
