// Opening a LUKS volume: which slot, what it may cost, and what a wrong passphrase is told.
#include "block/crypto/luks.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr LuksFormat kCheap = {.cipher = {}, .slot_iterations = 2, .digest_iterations = 2};
constexpr size_t kSlotsAt = 208;
constexpr size_t kSlotBytes = 48;

LuksReader reader_of(const std::vector<std::byte>& bytes) {
  return [&bytes](uint64_t offset, std::span<std::byte> to) -> Status {
    if (offset > bytes.size() || bytes.size() - offset < to.size()) {
      return fail("read past the end");
    }
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(offset), to.size(), to.begin());
    return {};
  };
}

NewLuks make(const LuksFormat& format = kCheap, std::string_view passphrase = "swordfish") {
  auto made = format_luks(format, Secret::copy_of(passphrase));
  EXPECT_TRUE(made) << made.error().message();
  return *std::move(made);
}

Result<OpenedLuks> open(const std::vector<std::byte>& bytes, std::string_view passphrase,
                        const LuksLimits& limits = {}) {
  return open_luks(reader_of(bytes), bytes.size(), Secret::copy_of(passphrase), limits);
}

std::string refusal(const Result<OpenedLuks>& opened) { return opened ? "opened" : opened.error().message(); }

void expect_same_cipher(const SectorCipher& first, const SectorCipher& second) {
  const std::vector<std::byte> plain(1024, std::byte{0x42});
  auto data = plain;
  ASSERT_EQ(first.encrypt(512, data), IoStatus::kOk);
  EXPECT_NE(data, plain);
  ASSERT_EQ(second.decrypt(512, data), IoStatus::kOk);
  EXPECT_EQ(data, plain);
}

TEST(Luks, OpensWithThePassphraseItWasMadeWith) {
  const NewLuks made = make();
  EXPECT_EQ(made.bytes.size(), made.header.payload_offset_bytes());
  const auto opened = open(made.bytes, "swordfish");
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ(opened->slot, 0U);
  EXPECT_TRUE(opened->cipher->uses_file_offset());
  expect_same_cipher(*made.cipher, *opened->cipher);
}

TEST(Luks, AKeyThatDoesNotFillItsSectorsIsReadBack) {
  LuksFormat format = kCheap;
  format.cipher = {.mode = CipherMode::kCbc, .key_bytes = 24};  // 96,000 bytes of key material: 187.5 sectors
  const NewLuks made = make(format);
  const auto opened = open(made.bytes, "swordfish");
  ASSERT_TRUE(opened) << opened.error().message();
  expect_same_cipher(*made.cipher, *opened->cipher);
}

TEST(Luks, AnyKeySlotCanHaveThePassphrase) {
  const NewLuks made = make();
  const uint64_t length = luks_key_material_bytes(made.header);
  for (size_t slot = 1; slot < kLuksKeySlots; ++slot) {
    std::vector<std::byte> bytes = made.bytes;
    const auto all = std::span(bytes);
    const uint64_t target = made.header.slots[slot].key_material_sector * kLuksSectorBytes;
    std::ranges::copy(all.subspan(8 * kLuksSectorBytes, length),
                      bytes.begin() + static_cast<ptrdiff_t>(target));
    std::ranges::copy(all.subspan(kSlotsAt, 40), all.subspan(kSlotsAt + slot * kSlotBytes).begin());
    std::ranges::fill(all.subspan(8 * kLuksSectorBytes, length),
                      std::byte{0x11});  // slot 0 holds another key
    const auto opened = open(bytes, "swordfish");
    ASSERT_TRUE(opened) << opened.error().message();
    EXPECT_EQ(opened->slot, slot);
    expect_same_cipher(*made.cipher, *opened->cipher);
  }
}

TEST(Luks, AWrongPassphraseIsRefusedWithoutShowingIt) {
  const NewLuks made = make();
  EXPECT_EQ(refusal(open(made.bytes, "sharkfin")), "the passphrase does not open any LUKS key slot");
  EXPECT_THAT(refusal(open(made.bytes, "")), HasSubstr("does not open any"));
  EXPECT_THAT(refusal(open(made.bytes, "swordfish\n")), HasSubstr("it ends with a line feed, which counts"));
  EXPECT_THAT(refusal(open(made.bytes, "sharkfin\n")), Not(HasSubstr("sharkfin")));
}

TEST(Luks, AHeaderWithoutActiveSlotsOpensForNobody) {
  std::vector<std::byte> bytes = make().bytes;
  store_be(bytes.data() + kSlotsAt, uint32_t{0x0000dead});
  EXPECT_THAT(refusal(open(bytes, "swordfish")), HasSubstr("does not open any"));
}

TEST(Luks, AHeaderThatWouldCostDaysIsRefusedBeforeItBegins) {
  std::vector<std::byte> bytes = make().bytes;
  store_be(bytes.data() + kSlotsAt + 4, uint32_t{0x7fffffff});
  EXPECT_THAT(refusal(open(bytes, "swordfish")),
              HasSubstr("demands 4294967296 rounds of PBKDF2, more than the 268435456"));
}

TEST(Luks, RoundsAreCountedOverAllActiveSlotsTheirDigestsAndBlocksOfTheKey) {
  NewLuks made = make();
  // 64 bytes of key are two blocks of SHA-256; the digest is one.
  EXPECT_EQ(luks_rounds(made.header), 2U * 2 + 2);
  made.header.slots[5] = made.header.slots[0];
  EXPECT_EQ(luks_rounds(made.header), 2 * (2U * 2 + 2));
  made.header.hash = Hash::kSha1;
  EXPECT_EQ(luks_rounds(made.header), 2 * (2U * 4 + 2));
  EXPECT_EQ(refusal(open(make().bytes, "swordfish", {.pbkdf2_rounds = 6})), "opened");
  EXPECT_THAT(refusal(open(make().bytes, "swordfish", {.pbkdf2_rounds = 5})), HasSubstr("6 rounds"));
}

TEST(Luks, KeyMaterialOutsideWhatIsThereIsRefused) {
  const NewLuks made = make();
  const auto read = reader_of(made.bytes);
  const uint64_t end = 8 * kLuksSectorBytes + luks_key_material_bytes(made.header);
  const Secret passphrase = Secret::copy_of("swordfish");
  EXPECT_EQ(refusal(open_luks(read, end, passphrase)), "opened");
  EXPECT_THAT(refusal(open_luks(read, end - 1, passphrase)), HasSubstr("key slot 0 reaches to byte 260096"));
  EXPECT_THAT(refusal(open_luks(read, 591, passphrase)), HasSubstr("no LUKS header in 591 bytes"));
}

TEST(Luks, AnErrorOfTheReaderIsPassedOn) {
  const LuksReader broken = [](uint64_t, std::span<std::byte>) -> Status {
    return fail("the disk is on fire");
  };
  EXPECT_EQ(refusal(open_luks(broken, 1 << 20, Secret::copy_of("x"))), "the disk is on fire");
}

TEST(Luks, TwoVolumesShareNeitherKeyNorName) {
  const NewLuks first = make();
  const NewLuks second = make();
  EXPECT_NE(first.header.uuid, second.header.uuid);
  EXPECT_NE(first.header.key_digest, second.header.key_digest);
  std::vector<std::byte> data(512);
  auto other = data;
  ASSERT_EQ(first.cipher->encrypt(0, data), IoStatus::kOk);
  ASSERT_EQ(second.cipher->encrypt(0, other), IoStatus::kOk);
  EXPECT_NE(data, other);
}

TEST(Luks, PartsThatDoNotGoTogetherAreNotMade) {
  LuksFormat format = kCheap;
  format.cipher.key_bytes = 20;
  const auto made = format_luks(format, Secret::copy_of("x"));
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message(), HasSubstr("no key of 20 bytes"));
}

}  // namespace
}  // namespace vmm::block
