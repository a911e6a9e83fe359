#include "devices/ide/ata_disk.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/devices/ide/ide_rig.h"
#include "vmm/base/bytes.h"

namespace vmm::ide {
namespace {

uint16_t word(const Bytes& data, size_t index) {
  return static_cast<uint16_t>(data.at(2 * index) | data.at(2 * index + 1) << 8);
}
uint32_t dword(const Bytes& data, size_t index) {
  return uint32_t{word(data, index)} | uint32_t{word(data, index + 1)} << 16;
}
std::string text(const Bytes& data, size_t index, size_t words) {
  std::string result;
  for (size_t i = 0; i < words; ++i) {
    result.push_back(static_cast<char>(word(data, index + i) >> 8));
    result.push_back(static_cast<char>(word(data, index + i) & 0xff));
  }
  return result;
}

// Both ways to wait.
class AtaDiskTest : public testing::TestWithParam<FakeAtaDriver::Waits> {
 protected:
  AtaDiskTest() { rig.driver.waits = GetParam(); }
  Bytes identify() { return rig.driver.pio_in({.code = 0xec}, 512).data; }

  IdeRig rig;
  FakeAtaDriver& driver = rig.driver;
};
INSTANTIATE_TEST_SUITE_P(Waiting, AtaDiskTest,
                         testing::Values(FakeAtaDriver::Waits::kPolling, FakeAtaDriver::Waits::kInterrupt),
                         [](const auto& param_info) {
                           return param_info.param == FakeAtaDriver::Waits::kPolling ? "Polling"
                                                                                     : "Interrupt";
                         });

TEST_P(AtaDiskTest, IdentifiesItself) {
  rig.add_disk(100 * kMiB, 0, {.serial = "S123"});
  const Bytes data = identify();
  ASSERT_EQ(data.size(), 512U);
  EXPECT_EQ(text(data, 10, 10), "S123                ");
  EXPECT_EQ(text(data, 27, 20).substr(0, 12), "VMM HARDDISK");
  EXPECT_EQ(dword(data, 60), 204'800U);
  EXPECT_EQ(dword(data, 100), 204'800U);
  EXPECT_EQ(word(data, 1), 204'800 / (16 * 63));
  EXPECT_EQ(word(data, 49) & 0x0300, 0x0300);
  EXPECT_EQ(word(data, 83) & 0x7400, 0x7400);
  uint8_t sum = 0;
  for (const uint8_t byte : data) {
    sum = static_cast<uint8_t>(sum + byte);
  }
  EXPECT_EQ(sum, 0);
  EXPECT_EQ(data[510], 0xa5);
}

TEST_P(AtaDiskTest, TellsTheHostThatItHasNoSmart) {
  rig.add_disk(kMiB);
  EXPECT_EQ(word(identify(), 82) & 0x0001, 0);
  const auto result = driver.no_data({.code = 0xb0, .features = 0xd0, .lba = 0xc24f00});
  EXPECT_EQ(result.status & 0x01, 0x01);
  EXPECT_EQ(result.error, 0x04);
}

TEST_P(AtaDiskTest, ReadsSectorsByPortWithAnInterruptForEach) {
  rig.add_disk(kMiB);
  const int before = driver.rises();
  const auto result = driver.pio_in({.code = 0x20, .device = kLba, .count = 3, .lba = 5}, 3 * kSector);
  EXPECT_TRUE(result.is_good());
  EXPECT_EQ(result.data, IdeRig::pattern(5 * kSector, 3 * kSector));
  if (GetParam() == FakeAtaDriver::Waits::kInterrupt) {
    EXPECT_EQ(driver.rises() - before, 3);
  }
}

TEST_P(AtaDiskTest, ACountOfZeroIs256Sectors) {
  rig.add_disk(kMiB);
  const auto result = driver.pio_in({.code = 0x20, .device = kLba, .count = 0, .lba = 1}, 256 * kSector);
  EXPECT_TRUE(result.is_good());
  EXPECT_EQ(result.data, IdeRig::pattern(512, 256 * kSector));
}

TEST_P(AtaDiskTest, ReadsMultipleSectorsInBlocks) {
  rig.add_disk(kMiB);
  EXPECT_TRUE(driver.no_data({.code = 0xc6, .count = 8}).is_good());
  EXPECT_EQ(word(identify(), 59), 0x0108);
  const auto result =
      driver.pio_in({.code = 0xc4, .device = kLba, .count = 20, .lba = 2}, 20 * kSector, 8 * kSector);
  EXPECT_TRUE(result.is_good());
  EXPECT_EQ(result.blocks, (std::vector<size_t>{4096, 4096, 2048}));
  EXPECT_EQ(result.data, IdeRig::pattern(1024, 20 * kSector));
}

TEST_P(AtaDiskTest, WhatItsDriverDoesIsCounted) {
  block::DiskCounters counters;
  rig.add_disk(kMiB, 0, {.counters = &counters});
  rig.controller.channel(0).drive_io(0).count_in(&counters);
  EXPECT_TRUE(driver.pio_in({.code = 0x20, .device = kLba, .count = 3, .lba = 5}, 3 * kSector).is_good());
  EXPECT_TRUE(driver.pio_out({.code = 0x30, .device = kLba, .count = 1, .lba = 9}, Bytes(kSector)).is_good());
  EXPECT_TRUE(driver.no_data({.code = 0xe7}).is_good());
  EXPECT_FALSE(driver.pio_in({.code = 0x20, .device = kLba, .count = 1, .lba = 2048}, kSector).is_good());
  const auto values = counters.values();
  const auto& [reads, writes, flushes, unmaps] = values.operations;
  EXPECT_EQ(reads.count, 1U);
  EXPECT_EQ(reads.bytes, 3 * kSector);
  EXPECT_EQ(reads.invalid, 1U);
  EXPECT_EQ(writes.bytes, kSector);
  EXPECT_EQ(flushes.count, 1U);
  EXPECT_EQ(unmaps.count, 0U);
  EXPECT_EQ(values.highest_write_end, 10 * kSector);
}

TEST_P(AtaDiskTest, MultipleModeIsAPowerOfTwoAndCanBeOff) {
  rig.add_disk(kMiB);
  EXPECT_EQ(driver.no_data({.code = 0xc6, .count = 3}).error, 0x04);
  EXPECT_EQ(driver.no_data({.code = 0xc6, .count = 32}).error, 0x04);
  EXPECT_TRUE(driver.no_data({.code = 0xc6, .count = 0}).is_good());
  EXPECT_EQ(driver.no_data({.code = 0xc4, .device = kLba, .count = 1}).error, 0x04);
}

TEST_P(AtaDiskTest, WritesSectorsByPort) {
  auto& disk = rig.add_disk(kMiB);
  const Bytes data = IdeRig::pattern(777, 300 * kSector);
  const auto result =
      driver.pio_out({.code = 0x34, .device = kLba, .count = 300, .lba = 9, .is_extended = true}, data);
  EXPECT_TRUE(result.is_good());
  EXPECT_EQ(IdeRig::contents(disk, 9 * kSector, data.size()), data);
  EXPECT_EQ(IdeRig::contents(disk, 8 * kSector, 512), IdeRig::pattern(8 * kSector, 512));
  EXPECT_EQ(IdeRig::contents(disk, 309 * kSector, 512), IdeRig::pattern(309 * kSector, 512));
}

TEST_P(AtaDiskTest, WritesMultipleSectorsInBlocks) {
  auto& disk = rig.add_disk(kMiB);
  const Bytes data = IdeRig::pattern(3, 20 * kSector);
  EXPECT_TRUE(
      driver.pio_out({.code = 0xc5, .device = kLba, .count = 20, .lba = 4}, data, 16 * kSector).is_good());
  EXPECT_EQ(IdeRig::contents(disk, 4 * kSector, data.size()), data);
}

TEST_P(AtaDiskTest, ReadsByDmaThroughScatteredMemory) {
  rig.add_disk(kMiB);
  const auto result = driver.dma({.code = 0xc8, .device = kLba, .count = 8, .lba = 3}, true,
                                 {{.address = IdeRig::kData, .count = 1000},
                                  {.address = IdeRig::kData + 0x8000, .count = 3096, .is_last = true}});
  EXPECT_TRUE(result.is_good());
  Bytes data = rig.ram_bytes(IdeRig::kData, 1000);
  const Bytes rest = rig.ram_bytes(IdeRig::kData + 0x8000, 3096);
  data.insert(data.end(), rest.begin(), rest.end());
  EXPECT_EQ(data, IdeRig::pattern(3 * kSector, 8 * kSector));
}

TEST_P(AtaDiskTest, WritesByDmaInSeveralSteps) {
  auto& disk = rig.add_disk(2 * kMiB);
  const uint32_t length = 1000 * kSector;
  rig.put_ram(IdeRig::kData, IdeRig::pattern(99, length));
  std::vector<Prd> table;
  for (uint32_t place = 0; place < length; place += 0x1'0000) {
    const uint32_t count = std::min<uint32_t>(0x1'0000, length - place);
    table.push_back(
        {.address = IdeRig::kData + place, .count = count & 0xffff, .is_last = place + count == length});
  }
  const auto result =
      driver.dma({.code = 0x35, .device = kLba, .count = 1000, .lba = 7, .is_extended = true}, false, table);
  EXPECT_TRUE(result.is_good());
  EXPECT_EQ(IdeRig::contents(disk, 7 * kSector, length), IdeRig::pattern(99, length));
  for (const auto& record : disk.history()) {
    EXPECT_LE(record.length_bytes, kStepBytes);
  }
}

TEST_P(AtaDiskTest, TheEngineMayBeStartedBeforeTheCommand) {
  rig.add_disk(kMiB);
  driver.build_table({{.address = IdeRig::kData, .count = 512, .is_last = true}});
  driver.prepare_dma(true);
  driver.start_dma(true);
  driver.issue({.code = 0xc8, .device = kLba, .count = 1, .lba = 1});
  EXPECT_TRUE(driver.end_dma().is_good());
  EXPECT_EQ(rig.ram_bytes(IdeRig::kData, 512), IdeRig::pattern(512, 512));
}

TEST_P(AtaDiskTest, DataWaitForAnEngineThatIsStartedLate) {
  rig.add_disk(kMiB);
  driver.build_table({{.address = IdeRig::kData, .count = 512, .is_last = true}});
  driver.prepare_dma(true);
  driver.issue({.code = 0xc8, .device = kLba, .count = 1, .lba = 1});
  rig.turn();
  EXPECT_EQ(driver.alternate_status() & 0x88, 0x08);
  EXPECT_FALSE(driver.line());
  driver.start_dma(true);
  EXPECT_TRUE(driver.end_dma().is_good());
}

TEST_P(AtaDiskTest, AddressesBeyond28Bits) {
  class Huge final : public block::FakeBlockDevice {
   public:
    Huge() : FakeBlockDevice(0) {}
    uint64_t size_bytes() const override { return uint64_t{1} << 41; }
    void submit(block::BlockRequest request) override {
      last_offset = request.offset.bytes();
      request.completion.finish(block::IoStatus::kOk);
    }
    uint64_t last_offset = 0;
  };
  Huge disk;
  rig.add_disk(disk, 0, {});
  EXPECT_EQ(dword(identify(), 60), 0x0fff'ffffU);
  EXPECT_EQ(dword(identify(), 102), 0x1U);  // 2^32 sectors
  const auto result =
      driver.pio_in({.code = 0x24, .device = kLba, .count = 1, .lba = 0xfedc'ba98, .is_extended = true}, 512);
  EXPECT_TRUE(result.is_good());
  EXPECT_EQ(disk.last_offset, uint64_t{0xfedc'ba98} * kSector);
  EXPECT_TRUE(driver.no_data({.code = 0x27, .device = kLba, .is_extended = true}).is_good());
  EXPECT_EQ(driver.get(reg::kLbaLow), 0xff);
  driver.set_control(0x88);
  EXPECT_EQ(driver.get(reg::kLbaLow), 0xff);
  EXPECT_EQ(driver.get(reg::kLbaMid), 0x00);
  driver.put(reg::kFeatures, 0);  // takes HOB away
  EXPECT_EQ(driver.get(reg::kLbaMid), 0xff);
}

TEST_P(AtaDiskTest, ReadsByCylinderHeadAndSector) {
  rig.add_disk(8 * kMiB);
  // Cylinder 2, head 3, sector 4 of 16 heads and 63 sectors.
  const uint64_t sector = (uint64_t{2} * 16 + 3) * 63 + 3;
  const auto result = driver.pio_in({.code = 0x20, .device = 0xa3, .count = 1, .lba = 2 << 8 | 4}, 512);
  EXPECT_TRUE(result.is_good());
  EXPECT_EQ(result.data, IdeRig::pattern(sector * kSector, 512));
}

TEST_P(AtaDiskTest, HasTheWorldWideNameThatItIsGiven) {
  rig.add_disk(8 * kMiB, 0, {.serial = "S", .world_wide_name = 0x5000'c500'a0b1'c2d3});
  const Bytes data = identify();
  EXPECT_EQ(word(data, 84), 0x4140);
  EXPECT_EQ(word(data, 87), 0x4140);
  EXPECT_EQ(word(data, 108), 0x5000);
  EXPECT_EQ(word(data, 109), 0xc500);
  EXPECT_EQ(word(data, 110), 0xa0b1);
  EXPECT_EQ(word(data, 111), 0xc2d3);
}

TEST_P(AtaDiskTest, SaysHowFastItTurnsWhereItIsTold) {
  rig.add_disk(8 * kMiB, 0, {.serial = "S", .rotation_rate = 7200});
  EXPECT_EQ(word(identify(), 217), 7200);
}

TEST_P(AtaDiskTest, HasNoWorldWideNameOfItsOwn) {
  rig.add_disk(8 * kMiB);
  const Bytes data = identify();
  EXPECT_EQ((word(data, 84) | word(data, 87)) & 0x0100, 0);
  EXPECT_EQ(word(data, 108), 0);
}

TEST_P(AtaDiskTest, HasTheGeometryThatItIsGivenAndReadsChsByIt) {
  rig.add_disk(8 * kMiB, 0,
               {.geometry = AtaDisk::Geometry{.cylinders = 100, .heads = 4, .sectors_per_track = 17}});
  const Bytes data = identify();
  for (const auto& [own, current] : {std::pair{1, 54}, {3, 55}, {6, 56}}) {
    EXPECT_EQ(word(data, static_cast<size_t>(own)), word(data, static_cast<size_t>(current)));
  }
  EXPECT_EQ(word(data, 1), 100);
  EXPECT_EQ(word(data, 3), 4);
  EXPECT_EQ(word(data, 6), 17);
  EXPECT_EQ(dword(data, 57), 100U * 4 * 17);
  EXPECT_EQ(dword(data, 60), 16'384U);  // LBA reaches all of it
  // Cylinder 1, head 1, sector 1; and cylinder 100, which there is none of.
  const auto result = driver.pio_in({.code = 0x20, .device = 0xa1, .count = 1, .lba = 1 << 8 | 1}, 512);
  EXPECT_EQ(result.data, IdeRig::pattern(85 * kSector, 512));
  EXPECT_EQ(driver.no_data({.code = 0x20, .device = 0xa0, .count = 1, .lba = 100 << 8 | 1}).error, 0x10);
}

TEST_P(AtaDiskTest, AGeometryLargerThanTheDiskEndsWhereTheDiskDoes) {
  rig.add_disk(kMiB, 0,
               {.geometry = AtaDisk::Geometry{.cylinders = 65535, .heads = 16, .sectors_per_track = 255}});
  EXPECT_EQ(dword(identify(), 57), 2048U);
  EXPECT_EQ(driver.no_data({.code = 0x20, .device = 0xa0, .count = 1, .lba = 1 << 8 | 1}).error, 0x10);
}

TEST_P(AtaDiskTest, AnotherTranslationIsObeyed) {
  rig.add_disk(8 * kMiB);
  EXPECT_TRUE(driver.no_data({.code = 0x91, .device = 0xa3, .count = 17}).is_good());  // 4 heads, 17 sectors
  const Bytes data = identify();
  EXPECT_EQ(word(data, 54), 16'384 / (4 * 17));
  EXPECT_EQ(word(data, 55), 4);
  EXPECT_EQ(word(data, 56), 17);
  const auto result = driver.pio_in({.code = 0x20, .device = 0xa1, .count = 1, .lba = 1 << 8 | 1}, 512);
  EXPECT_EQ(result.data, IdeRig::pattern(85 * kSector, 512));
  EXPECT_EQ(driver.no_data({.code = 0x91, .device = 0xa3, .count = 0}).error, 0x04);
}

TEST_P(AtaDiskTest, PlacesThatTheTranslationDoesNotHaveAreNotFound) {
  rig.add_disk(8 * kMiB);
  EXPECT_EQ(driver.no_data({.code = 0x20, .device = 0xa0, .count = 1, .lba = 0}).error, 0x10);
  EXPECT_EQ(driver.no_data({.code = 0x20, .device = 0xa0, .count = 1, .lba = 64}).error, 0x10);
  EXPECT_EQ(driver.no_data({.code = 0x20, .device = 0xa0, .count = 1, .lba = 0xffff01}).error, 0x10);
}

TEST_P(AtaDiskTest, SectorsBeyondTheEndAreNotFoundAndNothingIsRead) {
  auto& disk = rig.add_disk(kMiB);
  EXPECT_EQ(driver.no_data({.code = 0x20, .device = kLba, .count = 2, .lba = 2047}).error, 0x10);
  EXPECT_EQ(driver.no_data({.code = 0x30, .device = kLba, .count = 1, .lba = 2048}).error, 0x10);
  EXPECT_EQ(
      driver.no_data({.code = 0x25, .device = kLba, .count = 0, .lba = 0xffff'ffff'ffff, .is_extended = true})
          .error,
      0x10);
  EXPECT_EQ(driver.no_data({.code = 0x40, .device = kLba, .count = 2, .lba = 2047}).error, 0x10);
  EXPECT_TRUE(driver.no_data({.code = 0x40, .device = kLba, .count = 1, .lba = 2047}).is_good());
  EXPECT_TRUE(disk.history().empty());
}

TEST_P(AtaDiskTest, WhatTheHostCannotReadIsUncorrectableAtItsAddress) {
  auto& disk = rig.add_disk(kMiB);
  disk.fail_next(block::BlockOp::kRead, block::IoStatus::kIoError);
  const auto result = driver.no_data({.code = 0x20, .device = kLba, .count = 1, .lba = 0x123});
  EXPECT_EQ(result.status & 0x01, 0x01);
  EXPECT_EQ(result.error, 0x40);
  EXPECT_EQ(driver.get(reg::kLbaLow), 0x23);
  EXPECT_EQ(driver.get(reg::kLbaMid), 0x01);
}

TEST_P(AtaDiskTest, WhatTheHostCannotWriteIsAborted) {
  auto& disk = rig.add_disk(kMiB);
  disk.fail_next(block::BlockOp::kWrite, block::IoStatus::kNoSpace);
  const auto result = driver.pio_out({.code = 0x30, .device = kLba, .count = 1, .lba = 1}, Bytes(512));
  EXPECT_EQ(result.error, 0x04);
}

TEST_P(AtaDiskTest, AReadOnlyImageTakesNoWrites) {
  auto& disk = rig.image(kMiB);
  disk.set_read_only(true);
  rig.add_disk(disk, 0, {});
  EXPECT_EQ(driver.no_data({.code = 0x30, .device = kLba, .count = 1}).error, 0x04);
  EXPECT_EQ(driver.no_data({.code = 0xca, .device = kLba, .count = 1}).error, 0x04);
  EXPECT_TRUE(driver.no_data({.code = 0xe7}).is_good());
}

TEST_P(AtaDiskTest, FlushesTheImage) {
  auto& disk = rig.add_disk(kMiB);
  EXPECT_TRUE(driver.no_data({.code = 0xe7}).is_good());
  EXPECT_TRUE(driver.no_data({.code = 0xea}).is_good());
  EXPECT_EQ(disk.flushes(), 2U);
  disk.fail_next(block::BlockOp::kFlush, block::IoStatus::kIoError);
  EXPECT_EQ(driver.no_data({.code = 0xe7}).error, 0x04);
}

TEST_P(AtaDiskTest, AnUnsafeCacheIsNeverFlushed) {
  auto& disk = rig.add_disk(kMiB, 0, {.is_cache_unsafe = true});
  EXPECT_TRUE(driver.no_data({.code = 0xe7}).is_good());
  EXPECT_TRUE(driver.no_data({.code = 0xef, .features = 0x82}).is_good());
  EXPECT_TRUE(driver.pio_out({.code = 0x30, .device = kLba, .count = 1}, Bytes(512)).is_good());
  EXPECT_EQ(disk.flushes(), 0U);
  EXPECT_FALSE(disk.history().back().force_unit_access);
}

TEST_P(AtaDiskTest, WithoutItsWriteCacheWritesGoThrough) {
  auto& disk = rig.add_disk(kMiB);
  EXPECT_EQ(word(identify(), 85) & 0x20, 0x20);
  EXPECT_TRUE(driver.pio_out({.code = 0x30, .device = kLba, .count = 1}, Bytes(512)).is_good());
  EXPECT_FALSE(disk.history().back().force_unit_access);
  EXPECT_TRUE(driver.no_data({.code = 0xef, .features = 0x82}).is_good());
  EXPECT_EQ(word(identify(), 85) & 0x20, 0);
  EXPECT_TRUE(driver.pio_out({.code = 0x30, .device = kLba, .count = 1}, Bytes(512)).is_good());
  EXPECT_TRUE(disk.history().back().force_unit_access);
}

TEST_P(AtaDiskTest, ForcedUnitAccessIsPassedOn) {
  auto& disk = rig.add_disk(kMiB);
  const auto result = driver.dma({.code = 0x3d, .device = kLba, .count = 1, .lba = 1, .is_extended = true},
                                 false, {{.address = IdeRig::kData, .count = 512, .is_last = true}});
  EXPECT_TRUE(result.is_good());
  EXPECT_TRUE(disk.history().back().force_unit_access);
}

TEST_P(AtaDiskTest, TransferModesAreSetAndShown) {
  rig.add_disk(kMiB);
  EXPECT_TRUE(driver.no_data({.code = 0xef, .features = 0x03, .count = 0x22}).is_good());
  EXPECT_EQ(word(identify(), 63), 0x0407);
  EXPECT_TRUE(driver.no_data({.code = 0xef, .features = 0x03, .count = 0x45}).is_good());
  EXPECT_EQ(word(identify(), 63), 0x0007);
  EXPECT_EQ(word(identify(), 88), 0x203f);
  EXPECT_TRUE(driver.no_data({.code = 0xef, .features = 0x03, .count = 0x0c}).is_good());
  for (const uint16_t mode : std::vector<uint16_t>{0x0d, 0x23, 0x46, 0x02, 0x80}) {
    EXPECT_EQ(driver.no_data({.code = 0xef, .features = 0x03, .count = mode}).error, 0x04) << mode;
  }
  EXPECT_EQ(driver.no_data({.code = 0xef, .features = 0x05}).error, 0x04);
}

TEST_P(AtaDiskTest, PowerModesAreTold) {
  rig.add_disk(kMiB);
  EXPECT_TRUE(driver.no_data({.code = 0xe5}).is_good());
  EXPECT_EQ(driver.get(reg::kCount), 0xff);
  EXPECT_TRUE(driver.no_data({.code = 0xe0}).is_good());
  EXPECT_TRUE(driver.no_data({.code = 0xe5}).is_good());
  EXPECT_EQ(driver.get(reg::kCount), 0x00);
  EXPECT_TRUE(driver.no_data({.code = 0xe1}).is_good());
  EXPECT_TRUE(driver.no_data({.code = 0xe5}).is_good());
  EXPECT_EQ(driver.get(reg::kCount), 0xff);
}

Bytes trim_block(std::initializer_list<std::pair<uint64_t, uint16_t>> ranges) {
  Bytes block(512);
  size_t place = 0;
  for (const auto& [sector, count] : ranges) {
    const uint64_t entry = sector | uint64_t{count} << 48;
    for (size_t i = 0; i < 8; ++i) {
      block[place++] = static_cast<uint8_t>((entry >> (8 * i)) & 0xff);
    }
  }
  return block;
}

TEST_P(AtaDiskTest, TrimDiscardsItsRanges) {
  auto& disk = rig.add_disk(kMiB, 0, {.offers_discard = true});
  EXPECT_EQ(word(identify(), 169), 1);
  rig.put_ram(IdeRig::kData, trim_block({{10, 4}, {0, 0}, {100, 1}}));
  const auto result =
      driver.dma({.code = 0x06, .device = kLba, .features = 1, .count = 1, .is_extended = true}, false,
                 {{.address = IdeRig::kData, .count = 512, .is_last = true}});
  EXPECT_TRUE(result.is_good());
  EXPECT_EQ(IdeRig::contents(disk, 10 * kSector, 4 * kSector), Bytes(4 * kSector));
  EXPECT_EQ(IdeRig::contents(disk, 100 * kSector, 512), Bytes(512));
  EXPECT_EQ(IdeRig::contents(disk, 14 * kSector, 512), IdeRig::pattern(14 * kSector, 512));
  EXPECT_EQ(disk.history().size(), 2U);
}

TEST_P(AtaDiskTest, TrimWithARangeBeyondTheEndDiscardsNothing) {
  auto& disk = rig.add_disk(kMiB, 0, {.offers_discard = true});
  rig.put_ram(IdeRig::kData, trim_block({{10, 4}, {2047, 2}}));
  const auto result =
      driver.dma({.code = 0x06, .device = kLba, .features = 1, .count = 1, .is_extended = true}, false,
                 {{.address = IdeRig::kData, .count = 512, .is_last = true}});
  EXPECT_EQ(result.status & 0x01, 0x01);
  EXPECT_EQ(result.error, 0x10);
  EXPECT_TRUE(disk.history().empty());
}

TEST_P(AtaDiskTest, TrimIsBoundedAndOnlyThereWhereItIsOffered) {
  rig.add_disk(kMiB, 0, {.offers_discard = true});
  rig.add_disk(kMiB, 1, {.is_device_1 = true});
  for (const uint16_t count : std::vector<uint16_t>{0, 9, 0xffff}) {
    EXPECT_EQ(
        driver.no_data({.code = 0x06, .device = kLba, .features = 1, .count = count, .is_extended = true})
            .error,
        0x04);
  }
  EXPECT_EQ(
      driver.no_data({.code = 0x06, .device = kLba, .features = 0, .count = 1, .is_extended = true}).error,
      0x04);
  EXPECT_EQ(
      driver.no_data({.code = 0x06, .device = 0xf0, .features = 1, .count = 1, .is_extended = true}).error,
      0x04);
}

TEST_P(AtaDiskTest, CommandsThatItDoesNotHaveAreAborted) {
  rig.add_disk(kMiB);
  for (const uint8_t code : Bytes{0x00, 0x08, 0x2f, 0xa0, 0xa1, 0xb1, 0xf1, 0xf9, 0xff}) {
    const auto result = driver.no_data({.code = code});
    EXPECT_EQ(result.status & 0x89, 0x01) << +code;
    EXPECT_EQ(result.error, 0x04) << +code;
  }
}

TEST_P(AtaDiskTest, AnEmptyImageIsADiskWithoutSectors) {
  rig.add_disk(100);
  EXPECT_EQ(dword(identify(), 60), 0U);
  EXPECT_EQ(driver.no_data({.code = 0x20, .device = kLba, .count = 1}).error, 0x10);
  EXPECT_EQ(driver.no_data({.code = 0x20, .device = 0xa0, .count = 1, .lba = 1}).error, 0x10);
  EXPECT_TRUE(driver.no_data({.code = 0xf8, .device = kLba}).is_good());
}

}  // namespace
}  // namespace vmm::ide
