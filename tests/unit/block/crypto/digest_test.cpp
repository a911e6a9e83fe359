// Hashes, PBKDF2 and the anti-forensic splitter of LUKS headers, with the vectors of their standards.
#include "block/crypto/digest.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

constexpr std::array kAllHashes = {Hash::kMd5,    Hash::kSha1,   Hash::kSha224,   Hash::kSha256,
                                   Hash::kSha384, Hash::kSha512, Hash::kRipemd160};

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  }
  return text;
}

std::string digest_of(Hash hash, std::string_view text) {
  std::vector<std::byte> out(hash_bytes(hash));
  const auto done = digest(hash, as_bytes(text), out);
  return done ? hex(out) : done.error().message();
}

TEST(Digest, EveryHashThatQemuImgWritesIsThere) {
  EXPECT_EQ(digest_of(Hash::kMd5, "abc"), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(digest_of(Hash::kSha1, "abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(digest_of(Hash::kSha224, "abc"), "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7");
  EXPECT_EQ(digest_of(Hash::kSha256, "abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest_of(Hash::kSha384, "abc").substr(0, 32), "cb00753f45a35e8bb5a03d699ac65007");
  EXPECT_EQ(digest_of(Hash::kSha512, "abc").substr(0, 32), "ddaf35a193617abacc417349ae204131");
  EXPECT_EQ(digest_of(Hash::kRipemd160, "abc"), "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc");
}

TEST(Digest, NamesAreThoseOfLuksHeaders) {
  for (const Hash hash : kAllHashes) {
    EXPECT_EQ(find_hash(hash_name(hash)), hash);
  }
  EXPECT_FALSE(find_hash("whirlpool"));
  EXPECT_FALSE(find_hash("SHA256"));
  EXPECT_FALSE(find_hash(""));
}

TEST(Pbkdf2, GivesTheVectorOfRfc6070) {
  std::vector<std::byte> out(20);
  ASSERT_TRUE(pbkdf2(Hash::kSha1, as_bytes("password"), as_bytes("salt"), 4096, out));
  EXPECT_EQ(hex(out), "4b007901b765489abead49d926f721d065a429c1");
}

TEST(Pbkdf2, IterationsForATimeAreNeverFewerThanAThousand) {
  const auto count = pbkdf2_iterations_for(Hash::kSha256, 64, std::chrono::milliseconds(0));
  ASSERT_TRUE(count);
  EXPECT_EQ(*count, 1000U);
}

TEST(AntiForensicSplitter, MergesWhatItSplitForKeysOfAnyLengthAndHash) {
  for (const Hash hash : kAllHashes) {
    for (const size_t length : {size_t{16}, size_t{24}, size_t{32}, size_t{64}}) {
      Secret key(length);
      ASSERT_TRUE(random_bytes(key.bytes()));
      Secret split(length * 50);
      ASSERT_TRUE(af_split(hash, key.bytes(), 50, split.bytes()));
      Secret merged(length);
      ASSERT_TRUE(af_merge(hash, split.bytes(), 50, merged.bytes()));
      EXPECT_TRUE(std::ranges::equal(key.bytes(), merged.bytes())) << hash_name(hash) << " " << length;
    }
  }
}

TEST(AntiForensicSplitter, OneBitThatIsLostLosesTheKey) {
  Secret key(32);
  Secret split(size_t{32} * 50);
  ASSERT_TRUE(af_split(Hash::kSha256, key.bytes(), 50, split.bytes()));
  split.bytes()[17] ^= std::byte{1};
  Secret merged(32);
  ASSERT_TRUE(af_merge(Hash::kSha256, split.bytes(), 50, merged.bytes()));
  EXPECT_FALSE(std::ranges::equal(key.bytes(), merged.bytes()));
}

TEST(AntiForensicSplitter, OneStripeIsTheKeyItself) {
  const Secret split = Secret::copy_of("0123456789abcdef");
  Secret merged(16);
  ASSERT_TRUE(af_merge(Hash::kSha1, split.bytes(), 1, merged.bytes()));
  EXPECT_TRUE(std::ranges::equal(split.bytes(), merged.bytes()));
}

TEST(RandomBytes, AreNotTheSameTwice) {
  Secret first(32);
  Secret second(32);
  ASSERT_TRUE(random_bytes(first.bytes()));
  ASSERT_TRUE(random_bytes(second.bytes()));
  EXPECT_FALSE(std::ranges::equal(first.bytes(), second.bytes()));
}

}  // namespace
}  // namespace vmm::block
