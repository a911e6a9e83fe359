// Raw disks over the host's block devices: loop devices, which only root may make. Label `lab`, not `unit`.
#include <gmock/gmock.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include "block/image_file.h"
#include "block/qcow2/check.h"
#include "block/qcow2/create.h"
#include "block/qcow2/image.h"
#include "block/sync_file.h"
#include "tests/unit/block/disk_harness.h"

namespace vmm::block {
namespace {

constexpr size_t kSizeBytes = size_t{8} << 20;

// A loop device over a file, with blocks of that size, for the time of a test.
class LoopDevice {
 public:
  LoopDevice(const std::string& image, uint32_t block_bytes, bool read_only) {
    const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    EXPECT_TRUE(control) << "these tests need root and the loop module";
    // Another process may take the free number first.
    for (int attempt = 0; attempt < 20 && path_.empty(); ++attempt) {
      try_number(::ioctl(control.get(), LOOP_CTL_GET_FREE), image, block_bytes, read_only);
    }
    EXPECT_FALSE(path_.empty()) << "no free loop device";
  }
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;
  ~LoopDevice() {
    if (fd_) {
      ::ioctl(fd_.get(), LOOP_CLR_FD, 0);
    }
  }

  const std::string& path() const { return path_; }

 private:
  void try_number(int number, const std::string& image, uint32_t block_bytes, bool read_only) {
    const std::string path = "/dev/loop" + std::to_string(number);
    UniqueFd device(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    const UniqueFd file(::open(image.c_str(), O_RDWR | O_CLOEXEC));
    loop_config config{};
    config.fd = static_cast<uint32_t>(file.get());
    config.block_size = block_bytes;
    config.info.lo_flags = read_only ? static_cast<uint32_t>(LO_FLAGS_READ_ONLY) : 0U;
    if (device && ::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) {
      fd_ = std::move(device);
      path_ = path;
    }
  }

  UniqueFd fd_;
  std::string path_;
};

class BlockDevices : public testing::TestWithParam<std::tuple<EngineKind, CacheMode, uint32_t>> {
 protected:
  BlockDevices() { write_file(image_, content_); }

  DiskOptions options(const LoopDevice& device) const {
    DiskOptions options;
    options.path = device.path();
    options.io = std::get<0>(GetParam());
    options.cache = std::get<1>(GetParam());
    options.discard = DiscardMode::kUnmap;
    return options;
  }

  TemporaryFolder folder_;
  std::string image_ = folder_.file("image");
  std::vector<std::byte> content_ = pattern_bytes(kSizeBytes, 1);
  Loop loop_;
};

INSTANTIATE_TEST_SUITE_P(All, BlockDevices,
                         testing::Combine(testing::Values(EngineKind::kIoUring, EngineKind::kThreads),
                                          testing::Values(CacheMode::kNone, CacheMode::kWriteback),
                                          testing::Values(512U, 4096U)));

TEST_P(BlockDevices, ServeRequestsOfAnyAlignmentDiscardsAndZeroes) {
  const LoopDevice device(image_, std::get<2>(GetParam()), false);
  {
    auto disk = open_disk(*loop_, options(device)).value();
    ASSERT_EQ(disk->size_bytes(), kSizeBytes);
    const auto written = pattern_bytes(10'000, 2);
    ASSERT_EQ(write_disk(loop_, *disk, 5000, written), IoStatus::kOk);
    std::ranges::copy(written, content_.begin() + 5000);
    ASSERT_EQ(change_disk(loop_, *disk, BlockOp::kWriteZeroes, 100'001, 50'000), IoStatus::kOk);
    std::ranges::fill(std::span(content_).subspan(100'001, 50'000), std::byte{0});
    ASSERT_EQ(change_disk(loop_, *disk, BlockOp::kWriteZeroes, 200'001, 50'000, true), IoStatus::kOk);
    std::ranges::fill(std::span(content_).subspan(200'001, 50'000), std::byte{0});
    ASSERT_EQ(change_disk(loop_, *disk, BlockOp::kDiscard, 4 << 20, 1 << 20), IoStatus::kOk);
    std::ranges::fill(std::span(content_).subspan(4 << 20, 1 << 20), std::byte{0});  // as loop devices do it
    ASSERT_EQ(flush_disk(loop_, *disk), IoStatus::kOk);
    std::vector<std::byte> bytes(kSizeBytes);
    ASSERT_EQ(read_disk(loop_, *disk, 0, bytes), IoStatus::kOk);
    EXPECT_EQ(bytes, content_);
  }
  EXPECT_LE(allocated_bytes(image_), kSizeBytes - (1 << 20) + 65536);
}

TEST_P(BlockDevices, AreRefusedForWritingWhereTheyAreReadOnly) {
  const LoopDevice device(image_, std::get<2>(GetParam()), true);
  DiskOptions wanted = options(device);
  const auto refused = open_disk(*loop_, wanted);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("cannot be opened for writing"));
  wanted.read_only = true;
  EXPECT_TRUE(open_disk(*loop_, wanted));
}

TEST_P(BlockDevices, AreLockedLikeFiles) {
  const LoopDevice device(image_, std::get<2>(GetParam()), false);
  const auto first = open_disk(*loop_, options(device));
  ASSERT_TRUE(first);
  const auto second = open_disk(*loop_, options(device));
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message(), testing::HasSubstr("in use"));
}

TEST_P(BlockDevices, GetACleanQcow2ImageOverWhatTheyHold) {
  const LoopDevice device(image_, std::get<2>(GetParam()), false);
  const auto image = open_image_file(options(device)).value();
  const auto file = make_sync_file(image.files.main, device.path());
  ASSERT_TRUE(qcow2::create(*file, {.size_bytes = 32 << 20}));
  const auto header = qcow2::read_header(*file).value();
  EXPECT_TRUE(qcow2::check(*file, header).value().is_clean());
}

}  // namespace
}  // namespace vmm::block
