// Backing chains: how deep, in which format, and what is said where one cannot be opened.
#include <gmock/gmock.h>

#include <filesystem>
#include <optional>

#include "block/image_file.h"
#include "block/open_chain.h"
#include "block/qcow2/create.h"
#include "block/sync_file.h"
#include "tests/unit/block/disk_harness.h"

namespace vmm::block {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr uint64_t kChainedBytes = 65536;

class BackingChains : public testing::Test {
 protected:
  void make(const std::string& name, const std::string& base = "",
            const std::optional<std::string>& format = "qcow2") {
    write_file(folder_.file(name), {});
    const auto image = open_image_file({.path = folder_.file(name), .for_guest = false}).value();
    const auto file = make_sync_file(image.files.main, folder_.file(name));
    ASSERT_TRUE(qcow2::create(*file, {.size_bytes = kChainedBytes,
                                      .cluster_bits = 12,
                                      .backing_file = base,
                                      .backing_format = base.empty() ? std::nullopt : format}));
  }

  // "0" to "count - 1", each on the one before.
  void make_chain(size_t count) {
    make("0");
    for (size_t i = 1; i < count; ++i) {
      make(std::to_string(i), std::to_string(i - 1));
    }
  }

  auto open(const std::string& name) {
    options_.path = folder_.file(name);
    options_.format = Format::kQcow2;
    options_.read_only = true;
    return open_disk(*loop_, options_);
  }

  std::string refusal(const std::string& name) {
    const auto disk = open(name);
    EXPECT_FALSE(disk);
    return disk ? "" : disk.error().message();
  }

  TemporaryFolder folder_;
  Loop loop_;
  DiskOptions options_;
};

TEST_F(BackingChains, TellWhatTheyAreMadeOf) {
  make("base");
  make("top", "base");
  const auto disk = open("top");
  ASSERT_TRUE(disk);
  const std::vector<DiskLayer> layers = (*disk)->layers();
  ASSERT_EQ(layers.size(), 2U);
  const DiskLayer& top = layers.front();
  EXPECT_EQ(top.path, folder_.file("top"));
  EXPECT_EQ(top.format, Format::kQcow2);
  EXPECT_EQ(top.size_bytes, kChainedBytes);
  EXPECT_EQ(top.cluster_bytes, 4096U);
  EXPECT_EQ(top.backing_name, "base");
  EXPECT_EQ(top.backing_format, "qcow2");
  EXPECT_EQ(layers.back().path, folder_.file("base"));
  EXPECT_FALSE(layers.back().backing_name);
}

TEST_F(BackingChains, MayHave200LayersAndNoMore) {
  make_chain(kMaxChainLayers + 1);
  EXPECT_TRUE(open(std::to_string(kMaxChainLayers - 1)));
  EXPECT_THAT(refusal(std::to_string(kMaxChainLayers)), HasSubstr("more than 200 files"));
}

TEST_F(BackingChains, ALoopIsFoundAndNamed) {
  make_chain(4);
  make("0", "3");
  EXPECT_THAT(refusal("3"), AllOf(HasSubstr("stands on itself"), HasSubstr(folder_.file("0")),
                                  HasSubstr("backing chain: " + folder_.file("3"))));
  make("self", "./self");
  EXPECT_THAT(refusal("self"), HasSubstr("stands on itself"));
}

TEST_F(BackingChains, AMissingBaseIsNamedWithTheWholeChain) {
  make_chain(3);
  std::filesystem::remove(folder_.file("0"));
  EXPECT_THAT(refusal("2"), HasSubstr("(backing chain: " + folder_.file("2") + " -> " + folder_.file("1") +
                                      " -> " + folder_.file("0") + ")"));
}

TEST_F(BackingChains, ARawBaseIntoWhichAGuestWroteAHeaderStaysRaw) {
  make("secret");
  make("base", "secret");  // what the guest wrote
  make("overlay", "base", "raw");
  const auto disk = open("overlay").value();
  std::vector<std::byte> bytes(512);
  ASSERT_EQ(read_disk(loop_, *disk, 0, bytes), IoStatus::kOk);
  EXPECT_EQ(bytes[0], std::byte{'Q'});
}

TEST_F(BackingChains, AFormatThatNoImageNamesIsSaidByWhoRunsIt) {
  make("base");
  make("overlay", "base", std::nullopt);
  EXPECT_THAT(refusal("overlay"), HasSubstr("<backingStore>"));
  options_.for_guest = false;
  EXPECT_THAT(refusal("overlay"), HasSubstr("--backing-format"));
  options_.backing_format = Format::kQcow2;
  EXPECT_TRUE(open("overlay"));
}

TEST_F(BackingChains, TheFormatGivenIsForTheFirstLayerOnly) {
  make("base");
  make("middle", "base", std::nullopt);
  make("overlay", "middle", std::nullopt);
  options_.backing_format = Format::kQcow2;
  EXPECT_THAT(refusal("overlay"), HasSubstr("vmm-img rebase"));
}

TEST_F(BackingChains, AFormatThatContradictsTheImageIsRefusedForAGuest) {
  make("base");
  make("overlay", "base");
  options_.backing_format = Format::kRaw;
  EXPECT_THAT(refusal("overlay"), HasSubstr("make them agree"));
}

}  // namespace
}  // namespace vmm::block
