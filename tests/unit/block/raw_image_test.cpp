// Raw disks over real files, by every engine and cache mode: what is written is read, whatever the alignment.
#include <algorithm>
#include <random>
#include <tuple>

#include "tests/unit/block/disk_harness.h"

namespace vmm::block {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

class RawDisk : public testing::TestWithParam<std::tuple<EngineKind, CacheMode>> {
 protected:
  RawDisk() { write_file(path_, content_); }

  DiskOptions options() const {
    DiskOptions options;
    options.path = path_;
    options.io = std::get<0>(GetParam());
    options.cache = std::get<1>(GetParam());
    options.discard = DiscardMode::kUnmap;
    return options;
  }
  std::unique_ptr<BlockDevice> open(const DiskOptions& options) {
    auto disk = open_disk(*loop_, options);
    EXPECT_TRUE(disk) << disk.error().message();
    return std::move(disk).value();
  }

  TemporaryFolder folder_;
  std::string path_ = folder_.file("disk.raw");
  std::vector<std::byte> content_ = pattern_bytes(2 * kMiB, 1);
  Loop loop_;
};

TEST_P(RawDisk, ReadsWhatTheFileHolds) {
  auto disk = open(options());
  std::vector<std::byte> bytes(kMiB);
  ASSERT_EQ(read_disk(loop_, *disk, 4096, bytes), IoStatus::kOk);
  EXPECT_TRUE(std::ranges::equal(bytes, std::span(content_).subspan(4096, kMiB)));
}

TEST_P(RawDisk, ReadsBackWhatItWrote) {
  auto disk = open(options());
  const auto written = pattern_bytes(64 << 10, 2);
  ASSERT_EQ(write_disk(loop_, *disk, kMiB, written), IoStatus::kOk);
  ASSERT_EQ(flush_disk(loop_, *disk), IoStatus::kOk);
  std::vector<std::byte> bytes(written.size());
  ASSERT_EQ(read_disk(loop_, *disk, kMiB, bytes), IoStatus::kOk);
  EXPECT_EQ(bytes, written);
  std::ranges::copy(written, content_.begin() + kMiB);
  EXPECT_EQ(read_file(path_), content_);
}

// Many requests at once, of any offset, length and place in memory, against a plain array.
TEST_P(RawDisk, AgreesWithAnArrayForAnyAlignment) {
  auto disk = open(options());
  std::mt19937 random(7);
  std::vector<std::byte> memory(256 << 10);
  for (int round = 0; round < 300; ++round) {
    const uint64_t offset = random() % content_.size();
    const uint64_t length = std::min<uint64_t>(1 + random() % (100 << 10), content_.size() - offset);
    const auto bytes = std::span(memory).subspan(random() % 4096, length);
    const auto model = std::span(content_).subspan(offset, length);
    if (random() % 2 == 0) {
      ASSERT_EQ(read_disk(loop_, *disk, offset, bytes), IoStatus::kOk);
      ASSERT_TRUE(std::ranges::equal(bytes, model)) << offset << " " << length;
    } else {
      std::ranges::copy(pattern_bytes(length, static_cast<uint32_t>(round)), bytes.begin());
      std::ranges::copy(bytes, model.begin());
      ASSERT_EQ(write_disk(loop_, *disk, offset, bytes), IoStatus::kOk);
    }
  }
  disk.reset();
  EXPECT_EQ(read_file(path_), content_);
}

std::string name_of(const testing::TestParamInfo<RawDisk::ParamType>& info) {
  const auto [engine, cache] = info.param;
  std::string name = engine == EngineKind::kIoUring ? "IoUring" : "Threads";
  switch (cache) {
    case CacheMode::kNone:
      return name + "None";
    case CacheMode::kWriteback:
      return name + "Writeback";
    case CacheMode::kWritethrough:
      return name + "Writethrough";
    case CacheMode::kDirectsync:
      return name + "Directsync";
    case CacheMode::kUnsafe:
      return name + "Unsafe";
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(EnginesAndCacheModes, RawDisk,
                         testing::Combine(testing::Values(EngineKind::kIoUring, EngineKind::kThreads),
                                          testing::Values(CacheMode::kNone, CacheMode::kWriteback,
                                                          CacheMode::kWritethrough, CacheMode::kDirectsync,
                                                          CacheMode::kUnsafe)),
                         name_of);

}  // namespace
}  // namespace vmm::block
