// Reading qcow images of version 1 that qemu-img and qemu-io make, byte for byte as QEMU reads them.
#include "block/qcow1/image.h"

#include <gmock/gmock.h>

#include <string>
#include <utility>
#include <vector>

#include "block/chain_reader.h"
#include "block/crypto/sector_cipher.h"
#include "block/image_chain.h"
#include "block/image_file.h"
#include "block/raw_layer.h"
#include "tests/unit/block/disk_harness.h"
#include "tests/unit/block/qemu_tools.h"
#include "vmm/base/bytes.h"

namespace vmm::block::qcow1 {
namespace {

using testing::Each;

constexpr std::string_view kPassphrase = "swordfish";

class Qcow1Image : public testing::Test {
 protected:
  Qcow1Image() { write_file(folder_.file("passphrase"), as_bytes(kPassphrase)); }

  std::string secret() const { return "secret,id=s,file=" + folder_.file("passphrase"); }

  std::unique_ptr<HostFile> host_file(ImageFile image, const DiskOptions& options) {
    auto engine = Engine::for_loop(*loop_, options.io);
    EXPECT_TRUE(engine);
    return std::make_unique<HostFile>(*std::move(engine), std::move(image.files), image.geometry,
                                      options.cache, false);
  }

  // The image over a raw base, if one is named.
  std::unique_ptr<ImageChain> open(const std::string& path, const std::string& base = "") {
    const DiskOptions options{.path = path, .read_only = true, .for_guest = false};
    auto image = open_image_file(options);
    EXPECT_TRUE(image) << image.error().message();
    const auto sync = make_sync_file(image->files.main, path);
    const auto header = read_header(*sync);
    EXPECT_TRUE(header) << header.error().message();
    std::unique_ptr<SectorCipher> cipher;
    if (header->is_encrypted) {
      cipher = make_legacy_aes_cipher(Secret::copy_of(kPassphrase)).value();
    }
    auto file = host_file(*std::move(image), options);
    HostFile& any_file = *file;
    std::vector<std::unique_ptr<ImageFormat>> layers;
    layers.push_back(Image::open(std::move(file), *sync, *header, std::move(cipher)).value());
    if (!base.empty()) {
      const DiskOptions base_options{.path = base, .read_only = true, .for_guest = false};
      auto base_image = open_image_file(base_options);
      const uint64_t size = base_image->size_bytes;
      layers.push_back(std::make_unique<RawLayer>(host_file(*std::move(base_image), base_options), size));
    }
    std::vector<ImageFormat*> plain;
    plain.reserve(layers.size());
    for (const auto& layer : layers) {
      plain.push_back(layer.get());
    }
    auto reader = std::make_unique<ChainReader>(std::move(plain), any_file);
    return std::make_unique<ImageChain>(ImageChain::Layers{.own = std::move(layers)}, std::move(reader),
                                        nullptr, any_file, ImageChain::Options());
  }

  void expect_equal_to_qemu(const std::string& path, const std::string& base = "",
                            std::vector<std::string> source = {}) {
    const std::string raw = folder_.file("as-qemu-reads-it");
    std::vector<std::string> command = {"qemu-img", "convert", "-O", "raw"};
    if (source.empty()) {
      source = {"-f", "qcow", path};
    }
    command.insert(command.end(), source.begin(), source.end());
    command.push_back(raw);
    ASSERT_NO_FATAL_FAILURE(must_run(command));
    const auto expected = read_file(raw);
    const auto disk = open(path, base);
    ASSERT_EQ(disk->size_bytes(), expected.size());
    EXPECT_TRUE(disk->is_read_only());
    constexpr size_t kStep = 100'000;  // not aligned to anything
    for (size_t at = 0; at < expected.size(); at += kStep) {
      std::vector<std::byte> got(std::min(kStep, expected.size() - at), std::byte{0xee});
      ASSERT_EQ(read_disk(loop_, *disk, at, got), IoStatus::kOk) << at;
      ASSERT_TRUE(std::equal(got.begin(), got.end(), expected.begin() + static_cast<ptrdiff_t>(at))) << at;
    }
  }

  TemporaryFolder folder_;
  Loop loop_;
  std::string path_ = folder_.file("old.qcow");
};

TEST_F(Qcow1Image, DataAndHolesAreReadAsQemuReadsThem) {
  must_run({"qemu-img", "create", "-q", "-f", "qcow", path_, "10M"});
  must_run({"qemu-io", "-f", "qcow", "-c", "write -P 1 0 5000", "-c", "write -P 2 1M 300k", "-c",
            "write -P 3 10485248 512", path_});
  expect_equal_to_qemu(path_);
}

TEST_F(Qcow1Image, CompressedClustersAreRead) {
  const std::string raw = folder_.file("raw");
  auto bytes = pattern_bytes(3 << 20, 7);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = i % 12288 < 8000 ? std::byte{0x41} : bytes[i];  // some clusters compress and some do not
  }
  write_file(raw, bytes);
  // qemu-img 7.2 writes all of it, then fails without a word as it ends the compression: its comparison
  // decides.
  run_tool({"qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow", raw, path_});
  must_run({"qemu-img", "compare", "-f", "raw", "-F", "qcow", raw, path_});
  ASSERT_LT(std::filesystem::file_size(path_), bytes.size());
  expect_equal_to_qemu(path_);
}

TEST_F(Qcow1Image, AShorterBaseShowsThroughSmallClusters) {
  const std::string base = folder_.file("base.raw");
  write_file(base, pattern_bytes(1 << 20, 3));
  must_run({"qemu-img", "create", "-q", "-f", "qcow", "-b", base, "-F", "raw", path_, "2M"});
  must_run({"qemu-io", "-f", "qcow", "-c", "write -P 1 4k 512", "-c", "write -P 2 1000k 100k", path_});
  expect_equal_to_qemu(path_, base);
}

TEST_F(Qcow1Image, AesIsDecryptedBySectorsOfTheDisk) {
  must_run({"qemu-img", "create", "-q", "-f", "qcow", "--object", secret(), "-o",
            "encrypt.format=aes,encrypt.key-secret=s", path_, "2M"});
  const std::string source = "driver=qcow,encrypt.key-secret=s,file.filename=" + path_;
  must_run({"qemu-io", "--object", secret(), "--image-opts", "-c", "write -P 1 0 5000", "-c",
            "write -P 2 1M 300k", source});
  expect_equal_to_qemu(path_, "", {"--object", secret(), "--image-opts", source});
}

// --- Tables that are wrong ---

class BrokenQcow1Image : public Qcow1Image {
 protected:
  BrokenQcow1Image() {
    must_run({"qemu-img", "create", "-q", "-f", "qcow", path_, "10M"});
    must_run({"qemu-io", "-f", "qcow", "-c", "write -P 1 0 8k", path_});
    bytes_ = read_file(path_);
    l2_at_ = load_be<uint64_t>(bytes_.data() + 48);
  }
  // Reads the first cluster, then the one behind it.
  std::pair<IoStatus, IoStatus> read() {
    write_file(path_, bytes_);
    const auto disk = open(path_);
    std::vector<std::byte> got(4096);
    const IoStatus first = read_disk(loop_, *disk, 0, got);
    return {first, read_disk(loop_, *disk, 4096, got)};
  }

  std::vector<std::byte> bytes_;
  uint64_t l2_at_ = 0;
};

TEST_F(BrokenQcow1Image, AnEntryOutOfPlaceFailsItsOwnCluster) {
  for (const uint64_t entry :
       {UINT64_C(0x5001), UINT64_C(0x7fff'ffff'ffff'fe00), UINT64_C(1) << 63U, UINT64_MAX}) {
    store_be(bytes_.data() + l2_at_, entry);
    EXPECT_EQ(read(), std::pair(IoStatus::kIoError, IoStatus::kOk)) << entry;
  }
}

TEST_F(BrokenQcow1Image, ATableOutOfPlaceFailsAllThatItMaps) {
  for (const uint64_t table : {l2_at_ + 8, UINT64_C(0x7fff'ffff'ffff'f000), UINT64_MAX}) {
    store_be(bytes_.data() + 48, table);
    EXPECT_EQ(read(), std::pair(IoStatus::kIoError, IoStatus::kIoError)) << table;
  }
}

TEST_F(BrokenQcow1Image, ATableOrClusterPastTheEndOfTheFileIsZeroes) {
  store_be(bytes_.data() + l2_at_, uint64_t{1} << 40U);
  write_file(path_, bytes_);
  const auto disk = open(path_);
  std::vector<std::byte> got(4096, std::byte{0xee});
  EXPECT_EQ(read_disk(loop_, *disk, 0, got), IoStatus::kOk);
  EXPECT_THAT(got, Each(std::byte{0}));
}

TEST_F(BrokenQcow1Image, ACompressedClusterThatIsNoneFails) {
  store_be(bytes_.data() + l2_at_, (UINT64_C(1) << 63U) | (UINT64_C(100) << 51U) | l2_at_);
  EXPECT_EQ(read(), std::pair(IoStatus::kIoError, IoStatus::kOk));
}

}  // namespace
}  // namespace vmm::block::qcow1
