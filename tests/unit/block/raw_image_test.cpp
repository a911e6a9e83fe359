// Raw disks over real files, by every engine and cache mode: what is written is read, whatever the alignment.
#include <algorithm>
#include <random>
#include <tuple>

#include "tests/unit/block/disk_harness.h"
#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

// The file system's own blocks that describe the file count as the file's.
constexpr uint64_t kMapBytes = 16384;

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
  std::vector<std::byte> content_ = pattern_bytes(kMiB, 1);
  Loop loop_;
};

TEST_P(RawDisk, ReadsWhatTheFileHolds) {
  auto disk = open(options());
  std::vector<std::byte> bytes(kMiB / 2);
  ASSERT_EQ(read_disk(loop_, *disk, 4096, bytes), IoStatus::kOk);
  EXPECT_TRUE(std::ranges::equal(bytes, std::span(content_).subspan(4096, bytes.size())));
}

TEST_P(RawDisk, ReadsBackWhatItWrote) {
  auto disk = open(options());
  const auto written = pattern_bytes(64 << 10, 2);
  ASSERT_EQ(write_disk(loop_, *disk, kMiB / 2, written), IoStatus::kOk);
  ASSERT_EQ(flush_disk(loop_, *disk), IoStatus::kOk);
  std::vector<std::byte> bytes(written.size());
  ASSERT_EQ(read_disk(loop_, *disk, kMiB / 2, bytes), IoStatus::kOk);
  EXPECT_EQ(bytes, written);
  std::ranges::copy(written, content_.begin() + kMiB / 2);
  EXPECT_EQ(read_file(path_), content_);
}

// Many requests at once, of any offset, length and place in memory, against a plain array.
TEST_P(RawDisk, AgreesWithAnArrayForAnyAlignment) {
  auto disk = open(options());
  std::mt19937 random(7);
  std::vector<std::byte> memory(256 << 10);
  for (int round = 0; round < 100; ++round) {
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

// As many as a disk takes, of all kinds, each in its own part of the disk.
TEST_P(RawDisk, AFullDiskCompletesEveryRequestOnce) {
  auto disk = open(options());
  constexpr size_t kPart = 4000;  // shares blocks with its neighbours
  std::vector<Pending> pending(content_.size() / kPart);
  std::vector<std::vector<std::byte>> data;
  std::vector<iovec> vectors(pending.size());
  size_t next = 0;
  const auto submit_what_fits = [&] {
    for (; next < pending.size() && disk->can_accept(); ++next) {
      data.push_back(pattern_bytes(kPart, static_cast<uint32_t>(next)));
      vectors[next] = {.iov_base = data.back().data(), .iov_len = kPart};
      BlockRequest request;
      request.op = next % 3 == 0 ? BlockOp::kWrite : next % 3 == 1 ? BlockOp::kRead : BlockOp::kWriteZeroes;
      request.offset = DiskOffset(next * kPart);
      request.length_bytes = kPart;
      request.buffers = std::span(&vectors[next], 1);
      request.completion = pending[next].completion();
      disk->submit(std::move(request));
    }
  };
  data.reserve(pending.size());
  submit_what_fits();
  EXPECT_EQ(disk->in_flight(), next);
  loop_.run_until([&] {
    submit_what_fits();
    return next == pending.size() && disk->in_flight() == 0;
  });
  for (size_t i = 0; i < pending.size(); ++i) {
    ASSERT_EQ(pending[i].status(), IoStatus::kOk) << i;
    const auto model = std::span(content_).subspan(i * kPart, kPart);
    if (i % 3 == 0) {
      std::ranges::copy(data[i], model.begin());
    } else if (i % 3 == 1) {
      EXPECT_TRUE(std::ranges::equal(data[i], model)) << i;
    } else {
      std::ranges::fill(model, std::byte{0});
    }
  }
  disk.reset();
  EXPECT_EQ(read_file(path_), content_);
}

TEST_P(RawDisk, DiscardGivesSpaceBackAndReadsAsZeroes) {
  auto disk = open(options());
  ASSERT_EQ(flush_disk(loop_, *disk), IoStatus::kOk);
  ASSERT_EQ(write_disk(loop_, *disk, 0, content_), IoStatus::kOk);
  const uint64_t before = allocated_bytes(path_);
  ASSERT_EQ(change_disk(loop_, *disk, BlockOp::kDiscard, 65536, 524288), IoStatus::kOk);
  EXPECT_LE(allocated_bytes(path_), before + kMapBytes - 524288);
  std::ranges::fill(std::span(content_).subspan(65536, 524288), std::byte{0});
  EXPECT_EQ(read_file(path_), content_);
}

TEST_P(RawDisk, WriteZeroesGivesSpaceBackOnlyWhereItMay) {
  auto disk = open(options());
  const uint64_t before = allocated_bytes(path_);
  ASSERT_EQ(change_disk(loop_, *disk, BlockOp::kWriteZeroes, 1000, 100'000), IoStatus::kOk);
  EXPECT_GE(allocated_bytes(path_), before);
  ASSERT_EQ(change_disk(loop_, *disk, BlockOp::kWriteZeroes, 200'704, 409'600, true), IoStatus::kOk);
  EXPECT_LE(allocated_bytes(path_), before + kMapBytes - 409'600);
  std::ranges::fill(std::span(content_).subspan(1000, 100'000), std::byte{0});
  std::ranges::fill(std::span(content_).subspan(200'704, 409'600), std::byte{0});
  EXPECT_EQ(read_file(path_), content_);
}

TEST_P(RawDisk, DetectedZeroesBecomeAHole) {
  DiskOptions detecting = options();
  detecting.detect_zeroes = DetectZeroes::kUnmap;
  auto disk = open(detecting);
  const uint64_t before = allocated_bytes(path_);
  ASSERT_EQ(write_disk(loop_, *disk, 0, std::vector<std::byte>(65536)), IoStatus::kOk);
  EXPECT_LE(allocated_bytes(path_), before + kMapBytes - 65536);
  ASSERT_EQ(write_disk(loop_, *disk, 65536, pattern_bytes(65536, 9)), IoStatus::kOk);
  std::ranges::fill(std::span(content_).first(65536), std::byte{0});
  std::ranges::copy(pattern_bytes(65536, 9), content_.begin() + 65536);
  EXPECT_EQ(read_file(path_), content_);
}

TEST_P(RawDisk, RequestsPastTheEndAreOutOfRange) {
  auto disk = open(options());
  std::vector<std::byte> bytes(1024);
  EXPECT_EQ(read_disk(loop_, *disk, content_.size() - 512, bytes), IoStatus::kOutOfRange);
  EXPECT_EQ(write_disk(loop_, *disk, content_.size(), bytes), IoStatus::kOutOfRange);
  EXPECT_EQ(read_disk(loop_, *disk, UINT64_MAX - 511, bytes), IoStatus::kOutOfRange);
  EXPECT_EQ(change_disk(loop_, *disk, BlockOp::kDiscard, 512, UINT64_MAX), IoStatus::kOutOfRange);
  EXPECT_EQ(change_disk(loop_, *disk, BlockOp::kWriteZeroes, 512, content_.size()), IoStatus::kOutOfRange);
  EXPECT_EQ(read_file(path_), content_);
}

TEST_P(RawDisk, AReadOnlyDiskTakesNoChange) {
  DiskOptions read_only = options();
  read_only.read_only = true;
  auto disk = open(read_only);
  std::vector<std::byte> bytes(1024);
  EXPECT_TRUE(disk->is_read_only());
  EXPECT_EQ(read_disk(loop_, *disk, 0, bytes), IoStatus::kOk);
  EXPECT_EQ(write_disk(loop_, *disk, 0, bytes), IoStatus::kReadOnly);
  EXPECT_EQ(change_disk(loop_, *disk, BlockOp::kDiscard, 0, 4096), IoStatus::kReadOnly);
  EXPECT_EQ(change_disk(loop_, *disk, BlockOp::kWriteZeroes, 0, 4096), IoStatus::kReadOnly);
  EXPECT_EQ(flush_disk(loop_, *disk), IoStatus::kOk);
  EXPECT_EQ(read_file(path_), content_);
}

TEST_P(RawDisk, ATransferOfMoreBuffersThanOneSystemCallTakes) {
  auto disk = open(options());
  std::vector<std::byte> bytes(3000 * 300);
  std::vector<iovec> vectors;
  for (size_t i = 0; i < 3000; ++i) {
    vectors.push_back({.iov_base = bytes.data() + i * 300, .iov_len = i % 7 == 0 ? 0U : 300U});
  }
  BlockRequest request;
  request.op = BlockOp::kRead;
  request.buffers = vectors;
  for (const iovec& vector : vectors) {
    request.length_bytes += vector.iov_len;
  }
  ASSERT_EQ(run_request(loop_, *disk, std::move(request)), IoStatus::kOk);
  size_t at = 0;
  for (const iovec& vector : vectors) {
    const std::span part(static_cast<const std::byte*>(vector.iov_base), vector.iov_len);
    ASSERT_TRUE(std::ranges::equal(part, std::span(content_).subspan(at, part.size())));
    at += part.size();
  }
}

TEST_P(RawDisk, AFileWhoseLastBlockIsPartialKeepsItsSize) {
  content_.resize(content_.size() - 3000);
  write_file(path_, content_);
  DiskOptions for_tool = options();
  for_tool.for_guest = false;
  auto disk = open(for_tool);
  const auto written = pattern_bytes(5000, 5);
  ASSERT_EQ(write_disk(loop_, *disk, content_.size() - 5000, written), IoStatus::kOk);
  ASSERT_EQ(flush_disk(loop_, *disk), IoStatus::kOk);
  std::ranges::copy(written, content_.end() - 5000);
  std::vector<std::byte> bytes(10'000);
  ASSERT_EQ(read_disk(loop_, *disk, content_.size() - 10'000, bytes), IoStatus::kOk);
  EXPECT_TRUE(std::ranges::equal(bytes, std::span(content_).last(10'000)));
  disk.reset();
  EXPECT_EQ(read_file(path_), content_);
}

TEST_P(RawDisk, IsDrainedByRunningTheLoop) {
  auto disk = open(options());
  Pending pending;
  auto bytes = pattern_bytes(4096, 1);
  const iovec buffer{.iov_base = bytes.data(), .iov_len = bytes.size()};
  BlockRequest request;
  request.op = BlockOp::kWrite;
  request.length_bytes = bytes.size();
  request.buffers = std::span(&buffer, 1);
  request.completion = pending.completion();
  disk->submit(std::move(request));
  EXPECT_TRUE(drain(*loop_, *disk, std::chrono::seconds(30)));
  EXPECT_TRUE(pending.is_done());
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
