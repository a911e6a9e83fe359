// Images that contradict themselves: nothing is written over other metadata, and the corrupt bit tells of it.
#include <gmock/gmock.h>

#include <array>

#include "tests/unit/block/qcow2/qcow2_world.h"

namespace vmm::block::qcow2 {
namespace {

class Qcow2Corrupt : public testing::Test {
 protected:
  Qcow2Corrupt() {
    options_.create.cluster_bits = 12;
    options_.create.size_bytes = 1 << 20;
    disk_ = make_disk(options_);
    OpenImage image(disk_, options_, false);
    EXPECT_EQ(image.write_value(0, 4096, 7), IoStatus::kOk);
  }

  Header header() { return read_header(*disk_).value(); }
  uint64_t first_l2_table() {
    return read_table(*disk_, header().l1_offset, 8).value()[0] & kEntryOffsetMask;
  }
  void put_be64(uint64_t offset, uint64_t value) {
    std::array<std::byte, 8> bytes{};
    store_be<uint64_t>(bytes.data(), value);
    ASSERT_TRUE(disk_->write(FileOffset(offset), bytes));
  }

  WorldOptions options_;
  std::shared_ptr<CrashDisk> disk_;
};

TEST_F(Qcow2Corrupt, WhatAReadMeetsIsMarkedWhenTheImageIsClosed) {
  const uint64_t entry = read_table(*disk_, first_l2_table(), 8).value()[0];
  put_be64(first_l2_table(), entry + 512);  // not aligned to clusters
  {
    OpenImage image(disk_, options_, false);
    std::vector<std::byte> bytes(512);
    EXPECT_EQ(image.transfer(BlockOp::kRead, 0, bytes), IoStatus::kIoError);
  }
  EXPECT_TRUE(header().has(kIncompatibleCorrupt));
}

TEST_F(Qcow2Corrupt, AnImageThatIsOnlyReadIsNotMarked) {
  put_be64(first_l2_table(), read_table(*disk_, first_l2_table(), 8).value()[0] + 512);
  {
    OpenImage image(disk_, options_, true);
    std::vector<std::byte> bytes(512);
    EXPECT_EQ(image.transfer(BlockOp::kRead, 0, bytes), IoStatus::kIoError);
  }
  EXPECT_FALSE(header().has(kIncompatibleCorrupt));
}

TEST_F(Qcow2Corrupt, AtTheEndNoTableIsWrittenOverOtherMetadata) {
  const uint64_t l1_offset = header().l1_offset;
  const uint64_t before = read_table(*disk_, l1_offset, 8).value()[0];
  {
    OpenImage image(disk_, options_, false);
    // The L2 table is the cluster of the L1 table: on the disk it would have been refused.
    image.image().state().l1[0] = l1_offset | kEntryCopied;
    static_cast<void>(image.write_value(65536, 4096, 9));
  }
  EXPECT_EQ(read_table(*disk_, l1_offset, 8).value()[0], before);
  EXPECT_TRUE(header().has(kIncompatibleCorrupt));
}

TEST_F(Qcow2Corrupt, TablesThatLieOverEachOtherAreRefusedForWriting) {
  const uint64_t refcount_table = header().refcount_table_offset;
  const uint64_t l1_offset = header().l1_offset;
  const std::pair<uint64_t, uint64_t> cases[] = {{40, refcount_table}, {48, l1_offset}, {40, 0}, {48, 0}};
  for (const auto& [field, value] : cases) {
    const uint64_t before = read_table(*disk_, field, 8).value()[0];
    put_be64(field, value);
    Image::Files files;
    files.sync = std::make_unique<SharedSyncFile>(disk_);
    files.image = std::make_unique<HostFile>(disk_, HostFile::Files{}, HostFile::Geometry{},
                                             CacheMode::kWriteback, true);
    if (auto wrong = read_header(*files.sync)) {
      const auto image = Image::open(std::move(files), std::move(*wrong), {.read_only = false});
      ASSERT_TRUE(image) << image.error().message();
      const Status noted = note_metadata((*image)->sync_file(), (*image)->state());
      ASSERT_FALSE(noted) << field;
      EXPECT_THAT(noted.error().message(), testing::HasSubstr("lie over each other"));
    }
    put_be64(field, before);
  }
}

}  // namespace
}  // namespace vmm::block::qcow2
