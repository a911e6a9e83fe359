// What is known of a disk without reading it.
#include "block/block_map.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "block/host_file.h"
#include "tests/unit/block/disk_harness.h"
#include "tests/unit/block/qemu_tools.h"

namespace vmm::block {
namespace {

class BlockMapTest : public testing::Test {
 protected:
  std::unique_ptr<BlockDevice> open(const std::string& path, Format format) {
    auto disk = open_disk(*loop_, {.path = path, .format = format, .read_only = true, .for_guest = false});
    EXPECT_TRUE(disk) << disk.error().message();
    return std::move(*disk);
  }

  // Waits for tables.
  BlockRun map(BlockDevice& disk, uint64_t offset, uint64_t length) {
    bool is_told = false;
    Waiter waiter{.wake = [](Waiter& told, IoStatus /*status*/) { *static_cast<bool*>(told.context) = true; },
                  .context = &is_told};
    BlockRun run = disk.block_map()->map(DiskOffset(offset), length, waiter);
    for (int turn = 0; run.kind == BlockRun::Kind::kWait && turn < 100; ++turn) {
      loop_->run_once(std::chrono::milliseconds(100));
      if (std::exchange(is_told, false)) {
        run = disk.block_map()->map(DiskOffset(offset), length, waiter);
      }
    }
    EXPECT_EQ(run.kind, BlockRun::Kind::kKnown);
    return run;
  }

  TemporaryFolder folder_;
  std::unique_ptr<EventLoop> loop_ = EventLoop::create().value();
};

TEST_F(BlockMapTest, ARawFilesHolesAreZeroesAndTheRestIsData) {
  const std::string path = folder_.file("raw");
  write_file(path, pattern_bytes(65536, 1));
  std::filesystem::resize_file(path, 1 << 20);
  auto disk = open(path, Format::kRaw);
  const BlockRun data = map(*disk, 4096, 1 << 19);
  EXPECT_TRUE(data.is_data && data.is_present && !data.is_zero);
  EXPECT_EQ(data.length, 65536U - 4096);
  EXPECT_EQ(data.offset, FileOffset(4096));
  EXPECT_EQ(data.file->path(), path);
  const BlockRun hole = map(*disk, 65536, 1000);
  EXPECT_TRUE(hole.is_zero && hole.is_present && !hole.is_data);
  EXPECT_EQ(hole.length, 1000U);
}

TEST_F(BlockMapTest, AChainTellsTheLayerAndWhatNoLayerHas) {
  const std::string base = folder_.file("base");
  const std::string top = folder_.file("top");
  must_run({"qemu-img", "create", "-q", "-f", "qcow2", base, "1M"});
  must_run({"qemu-io", "-f", "qcow2", "-c", "write -P 1 64k 64k", base});
  must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top, "2M"});
  must_run({"qemu-io", "-f", "qcow2", "-c", "write -P 2 0 64k", "-c", "write -z 128k 64k", top});
  auto disk = open(top, Format::kQcow2);
  EXPECT_TRUE(map(*disk, 0, 1 << 20).is_data);
  EXPECT_EQ(map(*disk, 0, 1 << 20).depth, 0U);
  const BlockRun below = map(*disk, 65536, 1 << 20);
  EXPECT_TRUE(below.is_data && below.depth == 1 && below.length == 65536);
  EXPECT_EQ(below.file->path(), base);
  const BlockRun zeroes = map(*disk, 131072, 1 << 20);
  EXPECT_TRUE(zeroes.is_zero && zeroes.is_present && zeroes.depth == 0);
  const BlockRun nothing = map(*disk, 262144, 4096);
  EXPECT_TRUE(nothing.is_zero && !nothing.is_present && nothing.depth == 1);
  const BlockRun past_base = map(*disk, 1 << 20, 1 << 20);
  EXPECT_TRUE(past_base.is_zero && !past_base.is_present && past_base.depth == 0);
  EXPECT_EQ(past_base.length, uint64_t{1} << 20U);
}

TEST_F(BlockMapTest, CompressedDataHasNoPlace) {
  const std::string path = folder_.file("image");
  must_run({"qemu-img", "create", "-q", "-f", "qcow2", path, "1M"});
  must_run({"qemu-io", "-f", "qcow2", "-c", "write -c -P 1 0 64k", path});
  auto disk = open(path, Format::kQcow2);
  const BlockRun run = map(*disk, 100, 1 << 19);
  EXPECT_TRUE(run.is_data && run.is_compressed && !run.offset);
  EXPECT_EQ(run.length, 65536U - 100);
}

}  // namespace
}  // namespace vmm::block
