// LUKS and AES images that qemu-img makes and qemu-io fills, decrypted here; and ours, read by qemu-img.
#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "block/crypto/luks.h"
#include "block/crypto/sector_cipher.h"
#include "tests/unit/block/disk_harness.h"
#include "tests/unit/block/qemu_tools.h"
#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kPassphrase = "swordfish";
constexpr size_t kWritten = 8192;

LuksReader reader_of(std::span<const std::byte> bytes) {
  return [bytes](uint64_t offset, std::span<std::byte> to) -> Status {
    if (offset > bytes.size() || bytes.size() - offset < to.size()) {
      return fail("read past the end");
    }
    std::ranges::copy(bytes.subspan(offset, to.size()), to.begin());
    return {};
  };
}

class QemuImages : public testing::Test {
 protected:
  // Tests use files, as secrets never stand in clear on a command line.
  QemuImages() { write_file(passphrase_file(), as_bytes(kPassphrase)); }

  std::string passphrase_file() const { return folder_.file("passphrase"); }
  std::string secret() const { return "secret,id=s,file=" + passphrase_file(); }

  // With as few iterations as qemu-img takes. It measures its processor first, and fails where the kernel's
  // clock of its thread did not tick meanwhile: often, and many times in a row where its starts fall in step
  // with the ticks. So the pauses between the attempts differ.
  void create(const std::string& format, const std::string& options) const {
    ToolResult result;
    for (int attempt = 0; attempt < 500 && result.status != 0; ++attempt) {
      result = run_tool(
          {"qemu-img", "create", "-q", "-f", format, "--object", secret(), "-o", options, image_, "1M"});
      if (result.status != 0 && result.output.find("accurate CPU usage") == std::string::npos) {
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(attempt * 3 % 17));
    }
    ASSERT_EQ(result.status, 0) << result.output;
  }
  std::string options_for(const std::string& format, const std::string& key) const {
    return "driver=" + format + ",file.filename=" + image_ + "," + key + "=s";
  }
  // A pattern of 0x5c from byte 4096 on.
  void fill(const std::string& format, const std::string& key) const {
    must_run({"qemu-io", "--object", secret(), "--image-opts", "-c",
              "write -P 0x5c 4096 " + std::to_string(kWritten), options_for(format, key)});
  }

  TemporaryFolder folder_;
  std::string image_ = folder_.file("image");
};

struct Luks {
  std::string cipher;
  std::string mode;
  std::string iv;
  std::string iv_hash;
  std::string hash;

  friend void PrintTo(const Luks& luks, std::ostream* out) {
    *out << luks.cipher << " " << luks.mode << "-" << luks.iv << ":" << luks.iv_hash << " " << luks.hash;
  }
};

// Every cipher with every mode and generator that qemu-img 7.2 can make, the hashes of the header taking
// turns.
std::vector<Luks> all_kinds() {
  constexpr std::array kHashes = {"sha256", "sha1", "sha512", "ripemd160", "sha384", "sha224", "md5"};
  std::vector<Luks> kinds;
  for (const std::string cipher : {"aes-128", "aes-192", "aes-256", "cast5-128"}) {
    for (const std::string mode : {"xts", "cbc", "ctr", "ecb"}) {
      // qemu-img cannot make CAST5-XTS, and ends in an assertion where a split key does not fill its sectors.
      if ((cipher == "cast5-128" && mode == "xts") || (cipher == "aes-192" && mode != "xts")) {
        continue;
      }
      for (const std::string iv : {"plain", "plain64"}) {
        kinds.push_back({cipher, mode, iv, "", kHashes.at(kinds.size() % kHashes.size())});
      }
      kinds.push_back({cipher, mode, "essiv", "md5", kHashes.at(kinds.size() % kHashes.size())});
      if (cipher != "cast5-128") {
        kinds.push_back({cipher, mode, "essiv", "sha256", kHashes.at(kinds.size() % kHashes.size())});
      }
    }
  }
  return kinds;
}

class LuksForQemu : public QemuImages, public testing::WithParamInterface<Luks> {};

// Its header and first sectors made here, read by qemu-io; what qemu-io writes, read here.
TEST_P(LuksForQemu, IsReadAndWrittenByBoth) {
  const Luks& luks = GetParam();
  const std::string cipher = luks.cipher.substr(0, luks.cipher.find('-'));
  const size_t key_bits = std::stoul(luks.cipher.substr(luks.cipher.find('-') + 1));
  const auto spec =
      parse_cipher_spec(cipher, luks.mode + "-" + luks.iv + (luks.iv_hash.empty() ? "" : ":" + luks.iv_hash),
                        key_bits / 8 * (luks.mode == "xts" ? 2 : 1));
  ASSERT_TRUE(spec) << spec.error().message();
  auto made = format_luks({*spec, find_hash(luks.hash).value(), 1000, 1000}, Secret::copy_of(kPassphrase));
  ASSERT_TRUE(made) << made.error().message();
  std::vector<std::byte> payload(kWritten * 4, std::byte{0x77});
  ASSERT_EQ(made->cipher->encrypt(0, payload), IoStatus::kOk);
  made->bytes.insert(made->bytes.end(), payload.begin(), payload.end());
  write_file(image_, made->bytes);

  const ToolResult result =
      run_tool({"qemu-io", "--object", secret(), "--image-opts", "-c", "read -P 0x77 0 32k", "-c",
                "write -P 0x5c 4096 " + std::to_string(kWritten), options_for("luks", "key-secret")});
  ASSERT_EQ(result.status, 0) << result.output;
  ASSERT_THAT(result.output, Not(HasSubstr("verification failed")));
  auto bytes = read_file(image_);
  const auto data = std::span(bytes).subspan(made->header.payload_offset_bytes(), payload.size());
  ASSERT_EQ(made->cipher->decrypt(0, data), IoStatus::kOk);
  EXPECT_THAT(data.first(4096), Each(std::byte{0x77}));
  EXPECT_THAT(data.subspan(4096, kWritten), Each(std::byte{0x5c}));
}

INSTANTIATE_TEST_SUITE_P(EveryKind, LuksForQemu, testing::ValuesIn(all_kinds()));

// Minutes on a busy machine: qemu-img measures its processor before it makes a header.
class LuksOfQemu : public QemuImages, public testing::WithParamInterface<Luks> {};

TEST_P(LuksOfQemu, PayloadIsDecrypted) {
  const Luks& luks = GetParam();
  ASSERT_NO_FATAL_FAILURE(create("luks", "key-secret=s,iter-time=20,cipher-alg=" + luks.cipher +
                                             ",cipher-mode=" + luks.mode + ",ivgen-alg=" + luks.iv +
                                             (luks.iv_hash.empty() ? "" : ",ivgen-hash-alg=" + luks.iv_hash) +
                                             ",hash-alg=" + luks.hash));
  ASSERT_NO_FATAL_FAILURE(fill("luks", "key-secret"));
  auto bytes = read_file(image_);
  const auto opened = open_luks(reader_of(bytes), bytes.size(), Secret::copy_of(kPassphrase));
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ(hash_name(opened->header.hash), luks.hash);
  const auto payload = std::span(bytes).subspan(opened->header.payload_offset_bytes() + 4096, kWritten);
  ASSERT_EQ(opened->cipher->decrypt(4096, payload), IoStatus::kOk);
  EXPECT_THAT(payload, Each(std::byte{0x5c}));
}

// Each name of each field once.
INSTANTIATE_TEST_SUITE_P(Long, LuksOfQemu,
                         testing::Values(Luks{"aes-256", "xts", "plain64", "", "sha256"},
                                         Luks{"aes-192", "xts", "essiv", "sha256", "sha1"},
                                         Luks{"aes-128", "cbc", "essiv", "md5", "sha512"},
                                         Luks{"aes-256", "ctr", "plain", "", "ripemd160"},
                                         Luks{"aes-128", "ecb", "plain64", "", "sha384"},
                                         Luks{"cast5-128", "cbc", "plain64", "", "sha224"},
                                         Luks{"cast5-128", "ctr", "essiv", "md5", "md5"}));

class LongQemuImages : public QemuImages {};

TEST_F(LongQemuImages, ACipherThatOpensslDoesNotHaveIsRefusedByName) {
  for (const std::string cipher : {"serpent", "twofish"}) {
    ASSERT_NO_FATAL_FAILURE(create("luks", "key-secret=s,iter-time=20,cipher-alg=" + cipher + "-256"));
    const auto bytes = read_file(image_);
    const auto opened = open_luks(reader_of(bytes), bytes.size(), Secret::copy_of(kPassphrase));
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().message(), HasSubstr("cipher \"" + cipher + "\" is not supported"));
  }
}

TEST_F(LongQemuImages, EachOfEightKeySlotsOpens) {
  ASSERT_NO_FATAL_FAILURE(create("luks", "key-secret=s,iter-time=20"));
  for (int slot = 1; slot < 8; ++slot) {
    const std::string path = folder_.file("new");
    write_file(path, as_bytes("passphrase " + std::to_string(slot)));
    must_run({"qemu-img", "amend", "--object", secret(), "--object", "secret,id=n,file=" + path, "-o",
              "state=active,new-secret=n,iter-time=20,keyslot=" + std::to_string(slot), "--image-opts",
              options_for("luks", "key-secret")});
  }
  const auto bytes = read_file(image_);
  for (size_t slot = 0; slot < 8; ++slot) {
    const std::string passphrase =
        slot == 0 ? std::string(kPassphrase) : "passphrase " + std::to_string(slot);
    const auto opened = open_luks(reader_of(bytes), bytes.size(), Secret::copy_of(passphrase));
    ASSERT_TRUE(opened) << opened.error().message();
    EXPECT_EQ(opened->slot, slot);
  }
}

// Where the cluster of guest offset 0 lies in a qcow2 image: L1 table -> L2 table -> cluster.
uint64_t first_cluster(std::span<const std::byte> bytes) {
  constexpr uint64_t kOffsetMask = 0x00ff'ffff'ffff'fe00;
  const auto at = [&](uint64_t offset) { return read_be_at<uint64_t>(bytes, offset).value_or(0); };
  return at(at(at(40)) & kOffsetMask) & kOffsetMask;
}

TEST_F(LongQemuImages, LuksInQcow2CountsSectorsOfTheFile) {
  ASSERT_NO_FATAL_FAILURE(create("qcow2", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=20"));
  ASSERT_NO_FATAL_FAILURE(fill("qcow2", "encrypt.key-secret"));
  auto bytes = read_file(image_);
  // The encryption header is the first extension qemu-img writes: id 0x0537be77, length 16, offset, length.
  ASSERT_EQ(read_be_at<uint32_t>(bytes, 112), 0x0537be77U);
  const uint64_t header_at = read_be_at<uint64_t>(bytes, 120).value();
  const uint64_t header_bytes = read_be_at<uint64_t>(bytes, 128).value();
  const auto opened = open_luks(reader_of(std::span(bytes).subspan(header_at, header_bytes)), header_bytes,
                                Secret::copy_of(kPassphrase));
  ASSERT_TRUE(opened) << opened.error().message();
  const uint64_t data_at = first_cluster(bytes) + 4096;
  const auto data = std::span(bytes).subspan(data_at, kWritten);
  ASSERT_TRUE(opened->cipher->uses_file_offset());
  ASSERT_EQ(opened->cipher->decrypt(data_at, data), IoStatus::kOk);
  EXPECT_THAT(data, Each(std::byte{0x5c}));
}

TEST_F(QemuImages, LegacyAesInQcow2CountsSectorsOfTheDisk) {
  ASSERT_NO_FATAL_FAILURE(create("qcow2", "encrypt.format=aes,encrypt.key-secret=s"));
  ASSERT_NO_FATAL_FAILURE(fill("qcow2", "encrypt.key-secret"));
  auto bytes = read_file(image_);
  const auto cipher = make_legacy_aes_cipher(Secret::copy_of(kPassphrase));
  ASSERT_TRUE(cipher);
  const auto data = std::span(bytes).subspan(first_cluster(bytes) + 4096, kWritten);
  ASSERT_FALSE((*cipher)->uses_file_offset());
  ASSERT_EQ((*cipher)->decrypt(4096, data), IoStatus::kOk);
  EXPECT_THAT(data, Each(std::byte{0x5c}));
}

}  // namespace
}  // namespace vmm::block
