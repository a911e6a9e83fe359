// Ciphers of sectors: published vectors, and modes that are built here against those that OpenSSL has.
#include "block/crypto/sector_cipher.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "block/crypto/evp_cipher.h"
#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

using testing::HasSubstr;

constexpr size_t kSector = SectorCipher::kSectorBytes;

std::vector<std::byte> counting(size_t bytes) {
  std::vector<std::byte> data(bytes);
  for (size_t i = 0; i < bytes; ++i) {
    data[i] = static_cast<std::byte>(i * 7 + (i >> 8U));
  }
  return data;
}

std::vector<std::byte> from_hex(std::string_view text) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

std::unique_ptr<SectorCipher> make(std::string_view name, std::string_view mode,
                                   std::span<const std::byte> key, IvSectors sectors = IvSectors::kOfFile) {
  const auto spec = parse_cipher_spec(name, mode, key.size());
  EXPECT_TRUE(spec) << spec.error().message();
  auto cipher = make_sector_cipher(*spec, key, sectors);
  EXPECT_TRUE(cipher) << cipher.error().message();
  return *std::move(cipher);
}

std::vector<std::byte> encrypted(const SectorCipher& cipher, uint64_t offset, std::vector<std::byte> data) {
  EXPECT_EQ(cipher.encrypt(offset, data), IoStatus::kOk);
  return data;
}

TEST(CipherSpec, NamesAreThoseOfLuksHeadersBothWays) {
  for (const auto& [name, mode, bytes] :
       std::vector<std::tuple<std::string, std::string, size_t>>{{"aes", "xts-plain64", 64},
                                                                 {"aes", "cbc-essiv:sha256", 32},
                                                                 {"aes", "ctr-plain", 24},
                                                                 {"aes", "ecb", 16},
                                                                 {"cast5", "ecb-essiv:md5", 16}}) {
    const auto spec = parse_cipher_spec(name, mode, bytes);
    ASSERT_TRUE(spec) << spec.error().message();
    EXPECT_EQ(luks_cipher_name(*spec), name);
    EXPECT_EQ(luks_cipher_mode(*spec), mode);
  }
}

TEST(CipherSpec, WhatIsNotSupportedIsRefusedByName) {
  const auto refusal = [](std::string_view name, std::string_view mode, size_t bytes) {
    const auto spec = parse_cipher_spec(name, mode, bytes);
    return spec ? "taken" : spec.error().message();
  };
  EXPECT_THAT(refusal("serpent", "xts-plain64", 64), HasSubstr("cipher \"serpent\" is not supported"));
  EXPECT_THAT(refusal("aes", "lrw-benbi", 48), HasSubstr("mode \"lrw\" is not supported"));
  EXPECT_THAT(refusal("aes", "xts-plain64be", 64), HasSubstr("IV generator \"plain64be\" is not supported"));
  EXPECT_THAT(refusal("aes", "cbc-essiv:whirlpool", 32), HasSubstr("hash \"whirlpool\""));
  EXPECT_THAT(refusal("aes", "cbc-essiv:sha512", 32), HasSubstr("cannot use the hash sha512"));
  EXPECT_THAT(refusal("aes", "cbc-plain:sha256", 32), HasSubstr("takes no hash"));
  EXPECT_THAT(refusal("aes", "cbc", 32), HasSubstr("needs an IV generator"));
  EXPECT_THAT(refusal("aes", "xts-plain64", 16), HasSubstr("no key of 16 bytes"));
  EXPECT_THAT(refusal("aes", "xts-plain64", 65), HasSubstr("no key of 65 bytes"));
  EXPECT_THAT(refusal("aes", "cbc-plain64", 64), HasSubstr("no key of 64 bytes"));
  EXPECT_THAT(refusal("aes", "cbc-plain64", 0), HasSubstr("no key of 0 bytes"));
  EXPECT_THAT(refusal("aes", "cbc-plain64", 0xffffffff), HasSubstr("no key of 4294967295 bytes"));
  EXPECT_THAT(refusal("cast5", "xts-plain64", 32), HasSubstr("no mode xts"));
}

TEST(SectorCipher, GivesTheXtsVectorOfIeee1619) {
  // Vector 4: 512 bytes 00 01 02 … in data unit 0.
  const auto key = from_hex("2718281828459045235360287471352631415926535897932384626433832795");
  const auto cipher = make("aes", "xts-plain64", key);
  std::vector<std::byte> data(kSector);
  for (size_t i = 0; i < kSector; ++i) {
    data[i] = static_cast<std::byte>(i);
  }
  const auto out = encrypted(*cipher, 0, data);
  const auto head = from_hex("27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89c");
  EXPECT_TRUE(std::equal(head.begin(), head.end(), out.begin()));
}

using Case = std::tuple<std::string, std::string, size_t>;

class EveryCipher : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<SectorCipher> make_it() const {
    const auto& [name, mode, bytes] = GetParam();
    return make(name, mode, counting(bytes));
  }
  bool is_ecb() const { return std::get<1>(GetParam()).starts_with("ecb"); }
};

TEST_P(EveryCipher, DecryptsWhatItEncrypted) {
  const auto cipher = make_it();
  const auto plain = counting(kSector * 5);
  auto data = encrypted(*cipher, kSector * 1000, plain);
  EXPECT_NE(data, plain);
  EXPECT_EQ(cipher->decrypt(kSector * 1000, data), IoStatus::kOk);
  EXPECT_EQ(data, plain);
}

TEST_P(EveryCipher, SectorsAreIndependentOfTheirNeighbours) {
  const auto cipher = make_it();
  const auto plain = counting(kSector * 3);
  const auto together = encrypted(*cipher, kSector * 7, plain);
  const auto alone = encrypted(*cipher, kSector * 8, {plain.begin() + kSector, plain.begin() + 2 * kSector});
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + kSector));
}

TEST_P(EveryCipher, TheSameDataInAnotherSectorLookOtherwiseExceptInEcb) {
  const auto cipher = make_it();
  const auto plain = counting(kSector);
  EXPECT_EQ(encrypted(*cipher, 0, plain) == encrypted(*cipher, kSector, plain), is_ecb());
}

TEST_P(EveryCipher, NothingIsDoneToNoSectors) {
  const auto cipher = make_it();
  EXPECT_EQ(cipher->encrypt(0, {}), IoStatus::kOk);
  EXPECT_EQ(cipher->decrypt(0, {}), IoStatus::kOk);
}

INSTANTIATE_TEST_SUITE_P(SectorCipher, EveryCipher,
                         testing::Values(Case("aes", "xts-plain64", 32), Case("aes", "xts-plain64", 48),
                                         Case("aes", "xts-essiv:sha256", 64), Case("aes", "cbc-plain", 16),
                                         Case("aes", "cbc-essiv:md5", 24),
                                         Case("aes", "cbc-essiv:sha256", 32), Case("aes", "ctr-plain64", 32),
                                         Case("aes", "ecb-plain64", 24), Case("cast5", "cbc-plain64", 16),
                                         Case("cast5", "ctr-essiv:md5", 16), Case("cast5", "ecb", 16)));

TEST(SectorCipher, PlainWrapsAt32BitsAndPlain64DoesNot) {
  const auto key = counting(32);
  const auto plain = counting(kSector);
  constexpr uint64_t kFar = (UINT64_C(1) << 32U) * kSector;
  const auto short_iv = make("aes", "cbc-plain", key);
  EXPECT_EQ(encrypted(*short_iv, 0, plain), encrypted(*short_iv, kFar, plain));
  const auto long_iv = make("aes", "cbc-plain64", key);
  EXPECT_NE(encrypted(*long_iv, 0, plain), encrypted(*long_iv, kFar, plain));
}

TEST(SectorCipher, CounterModeOfCast5CountsOverTheEndOfItsLowestByte) {
  const auto key = counting(16);
  const auto cipher = make("cast5", "ctr-plain64", key);
  const auto stream = encrypted(*cipher, 0xfe * kSector, std::vector<std::byte>(kSector));
  const auto ecb = EvpCipher::create("CAST5-ECB", key, EvpCipher::Direction::kEncrypt);
  ASSERT_TRUE(ecb);
  for (const uint64_t block : {0U, 1U, 63U}) {
    std::array<std::byte, 8> counter{};
    store_be(counter.data(), (UINT64_C(0xfe) << 56U) + block);
    ASSERT_TRUE(ecb->run({}, counter));
    EXPECT_TRUE(
        std::equal(counter.begin(), counter.end(), stream.begin() + static_cast<ptrdiff_t>(block * 8)));
  }
}

TEST(SectorCipher, XtsOfAes192IsWhatIeee1619Describes) {
  const auto key = counting(48);
  const auto cipher = make("aes", "xts-plain64", key);
  const auto plain = counting(kSector);
  const auto out = encrypted(*cipher, kSector * 3, plain);

  // Block 1 by hand: tweak = E2(3) * alpha; C = E1(P ^ tweak) ^ tweak.
  const auto ecb = [&](std::span<const std::byte> half) {
    return *EvpCipher::create("AES-192-ECB", half, EvpCipher::Direction::kEncrypt);
  };
  std::array<std::byte, 16> tweak{std::byte{3}};
  ASSERT_TRUE(ecb(std::span(key).last(24)).run({}, tweak));
  unsigned carry = 0;
  for (std::byte& byte : tweak) {
    const unsigned doubled = std::to_integer<unsigned>(byte) * 2 + carry;
    byte = static_cast<std::byte>(doubled & 0xffU);
    carry = doubled >> 8U;
  }
  tweak[0] ^= carry != 0 ? std::byte{0x87} : std::byte{0};
  std::array<std::byte, 16> block{};
  std::ranges::transform(tweak, std::span(plain).subspan(16, 16), block.begin(), std::bit_xor());
  ASSERT_TRUE(ecb(std::span(key).first(24)).run({}, block));
  std::ranges::transform(tweak, block, block.begin(), std::bit_xor());
  EXPECT_TRUE(std::equal(block.begin(), block.end(), out.begin() + 16));
}

TEST(LegacyAes, TakesSixteenBytesOfThePassphraseAndCountsSectorsOfTheDisk) {
  const auto cipher = make_legacy_aes_cipher(Secret::copy_of("0123456789abcdefIGNORED"));
  ASSERT_TRUE(cipher);
  EXPECT_FALSE((*cipher)->uses_file_offset());
  const auto same = make("aes", "cbc-plain64", as_bytes("0123456789abcdef"));
  EXPECT_TRUE(same->uses_file_offset());
  EXPECT_EQ(encrypted(**cipher, kSector, counting(kSector)), encrypted(*same, kSector, counting(kSector)));

  const auto short_one = make_legacy_aes_cipher(Secret::copy_of("pw"));
  ASSERT_TRUE(short_one);
  const auto padded =
      make("aes", "cbc-plain64", as_bytes(std::string_view("pw\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16)));
  EXPECT_EQ(encrypted(**short_one, 0, counting(kSector)), encrypted(*padded, 0, counting(kSector)));
}

TEST(EvpCipher, WhatOpensslDoesNotHaveIsNamed) {
  const auto cipher = EvpCipher::create("SERPENT-256-XTS", counting(64), EvpCipher::Direction::kEncrypt);
  ASSERT_FALSE(cipher);
  EXPECT_THAT(cipher.error().message(), HasSubstr("does not have the cipher SERPENT-256-XTS"));
}

}  // namespace
}  // namespace vmm::block
