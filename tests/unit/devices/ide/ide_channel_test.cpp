// Two drives on a channel, resets, and the PCI function around it.
#include "devices/ide/ide_channel.h"

#include <gtest/gtest.h>

#include "tests/unit/devices/ide/ide_rig.h"
#include "vmm/base/bytes.h"

namespace vmm::ide {
namespace {

class IdeChannelTest : public testing::Test {
 protected:
  // What a driver looks at to find a device: values that it wrote, or zeroes.
  bool answers(uint8_t drive) {
    driver.select(drive);
    driver.put(reg::kCount, 0x55);
    driver.put(reg::kLbaLow, 0xaa);
    return driver.get(reg::kCount) == 0x55 && driver.get(reg::kLbaLow) == 0xaa &&
           driver.get(reg::kDevice) == (drive == 0 ? 0xa0 : 0xb0);
  }
  uint16_t signature() {
    return static_cast<uint16_t>(driver.get(reg::kLbaHigh) << 8 | driver.get(reg::kLbaMid));
  }

  IdeRig rig;
  FakeAtaDriver& driver = rig.driver;
};

TEST_F(IdeChannelTest, WithoutDrivesNobodyAnswers) {
  EXPECT_FALSE(answers(0));
  EXPECT_FALSE(answers(1));
  EXPECT_EQ(driver.alternate_status(), 0);
  driver.put(reg::kCommand, 0xec);
  driver.put(reg::kCommand, 0x90);
  driver.software_reset();
  EXPECT_EQ(in<uint16_t>(driver.command_block(), 0), 0);
  EXPECT_EQ(driver.alternate_status(), 0);
  EXPECT_FALSE(driver.line());
}

TEST_F(IdeChannelTest, AnAbsentSlaveReadsAsZeroBesideItsMaster) {
  rig.add_disk(kMiB, 0);
  EXPECT_TRUE(answers(0));
  EXPECT_FALSE(answers(1));
  EXPECT_EQ(driver.get(reg::kStatus), 0);
  driver.put(reg::kCommand, 0xec);
  EXPECT_EQ(driver.get(reg::kStatus), 0);
  EXPECT_FALSE(driver.line());
  driver.select(0);
  EXPECT_EQ(driver.get(reg::kStatus), 0x50);
}

TEST_F(IdeChannelTest, ASlaveAloneAnswersAsOne) {
  rig.add_disk(kMiB, 1, {.is_device_1 = true});
  EXPECT_FALSE(answers(0));
  EXPECT_TRUE(answers(1));
  EXPECT_EQ(driver.pio_in({.code = 0x20, .device = 0xf0, .count = 1, .lba = 2}, 512).data,
            IdeRig::pattern(1024, 512));
}

TEST_F(IdeChannelTest, TwoDrivesHaveRegistersOfTheirOwnThatHearEveryWrite) {
  rig.add_disk(kMiB, 0, {.serial = "A"});
  rig.add_disk(2 * kMiB, 1, {.serial = "B", .is_device_1 = true});
  EXPECT_TRUE(answers(0));
  EXPECT_TRUE(answers(1));
  EXPECT_EQ(driver.no_data({.code = 0x20, .device = kLba, .count = 1, .lba = 0xfffffff}).error, 0x10);
  driver.select(1);
  EXPECT_EQ(driver.get(reg::kError) & 0x10, 0);
  EXPECT_EQ(driver.get(reg::kStatus) & 0x01, 0);
  driver.select(0);
  EXPECT_EQ(driver.get(reg::kError), 0x10);
  EXPECT_EQ(driver.pio_in({.code = 0xec, .device = 0xb0}, 512).data.at(120), (2 * kMiB / 512) & 0xff);
}

TEST_F(IdeChannelTest, AnInterruptIsSeenWhileItsDriveIsSelected) {
  rig.add_disk(kMiB, 0);
  rig.add_disk(kMiB, 1, {.is_device_1 = true});
  driver.issue({.code = 0xe5});
  EXPECT_TRUE(driver.line());
  driver.select(1);
  EXPECT_FALSE(driver.line());
  driver.select(0);
  EXPECT_TRUE(driver.line());
  EXPECT_EQ(driver.alternate_status(), 0x50);
  EXPECT_TRUE(driver.line());
  EXPECT_EQ(driver.get(reg::kStatus), 0x50);
  EXPECT_FALSE(driver.line());
}

TEST_F(IdeChannelTest, NoInterruptsMeansNone) {
  rig.add_disk(kMiB, 0);
  driver.set_control(0x0a);
  driver.issue({.code = 0xe5});
  EXPECT_FALSE(driver.line());
  EXPECT_EQ(driver.bus_master_get(2) & 0x04, 0);
  driver.set_control(0x08);
  EXPECT_TRUE(driver.line());
  EXPECT_EQ(driver.bus_master_get(2) & 0x04, 0x04);
}

TEST_F(IdeChannelTest, ANewCommandTakesTheOldInterruptAndGivesAnEdgeOfItsOwn) {
  rig.add_disk(kMiB, 0);
  driver.issue({.code = 0xe5});
  driver.issue({.code = 0xe5});
  EXPECT_EQ(driver.rises(), 2);
}

TEST_F(IdeChannelTest, ABusyDriveHearsNothing) {
  auto& disk = rig.add_disk(kMiB, 0);
  rig.add_disk(kMiB, 1, {.is_device_1 = true});
  disk.set_deferred(true);
  driver.issue({.code = 0x20, .device = kLba, .count = 1, .lba = 1});
  rig.turn();
  driver.put(reg::kLbaLow, 0x77);
  driver.put(reg::kDevice, 0xb0);
  driver.put(reg::kCommand, 0xec);
  EXPECT_EQ(driver.alternate_status() & 0x80, 0x80);
  EXPECT_EQ(driver.get(reg::kLbaLow), 1);
  disk.complete_all();
  EXPECT_EQ(driver.alternate_status(), 0x58);
}

TEST_F(IdeChannelTest, SoftwareResetShowsTheSignatures) {
  rig.add_disk(kMiB, 0);
  rig.add_cdrom(10, 1);
  driver.set_control(0x0c);
  EXPECT_EQ(driver.alternate_status() & 0x80, 0x80);
  driver.put(reg::kCommand, 0xec);
  driver.set_control(0x08);
  EXPECT_EQ(driver.alternate_status(), 0x50);
  EXPECT_EQ(driver.get(reg::kError), 0x01);
  EXPECT_EQ(signature(), 0x0000);
  EXPECT_EQ(driver.get(reg::kCount), 0x01);
  driver.select(1);
  EXPECT_EQ(driver.alternate_status(), 0x00);
  EXPECT_EQ(signature(), 0xeb14);
  EXPECT_FALSE(driver.line());
}

TEST_F(IdeChannelTest, SoftwareResetSelectsTheMaster) {
  rig.add_disk(kMiB, 0);
  rig.add_cdrom(10, 1);
  driver.select(1);
  driver.software_reset();
  EXPECT_EQ(signature(), 0x0000);
  EXPECT_EQ(driver.get(reg::kDevice), 0);
}

// CVE-2023-5088, and pitfall of every controller: a result that comes after the reset.
TEST_F(IdeChannelTest, AReadThatARestOverrunsIsForgotten) {
  auto& disk = rig.add_disk(kMiB, 0);
  rig.put_ram(IdeRig::kData, Bytes(512, 0xee));
  disk.set_deferred(true);
  driver.build_table({{.address = IdeRig::kData, .count = 512, .is_last = true}});
  driver.prepare_dma(true);
  driver.issue({.code = 0xc8, .device = kLba, .count = 1, .lba = 1});
  driver.start_dma(true);
  rig.turn();
  ASSERT_EQ(disk.in_flight(), 1U);
  driver.software_reset();
  EXPECT_EQ(driver.alternate_status(), 0x50);
  // The next command waits for the disk, but not for the guest to see.
  driver.issue({.code = 0x20, .device = kLba, .count = 1, .lba = 2});
  rig.turn();
  EXPECT_EQ(disk.in_flight(), 1U);
  disk.complete_oldest();
  rig.turn();
  EXPECT_EQ(driver.alternate_status() & 0x80, 0x80);
  ASSERT_EQ(disk.in_flight(), 1U);
  disk.complete_oldest();
  ASSERT_TRUE(driver.wait_not_busy());
  FakeAtaDriver::Result result;
  driver.read_block(result, 512);
  EXPECT_EQ(result.data, IdeRig::pattern(1024, 512));
  EXPECT_EQ(rig.ram_bytes(IdeRig::kData, 512), Bytes(512, 0xee));
}

TEST_F(IdeChannelTest, AWriteThatAResetOverrunsKeepsItsPlaceAndItsData) {
  auto& disk = rig.add_disk(kMiB, 0);
  disk.set_deferred(true);
  driver.issue({.code = 0x30, .device = kLba, .count = 1, .lba = 5});
  const Bytes first(512, 0x11);
  driver.write_words(first);
  rig.turn();
  ASSERT_EQ(disk.in_flight(), 1U);
  driver.software_reset();
  driver.issue({.code = 0x30, .device = kLba, .count = 1, .lba = 6});
  const Bytes second(512, 0x22);
  driver.write_words(second);
  rig.turn();
  disk.complete_all();
  rig.turn();
  disk.complete_all();
  ASSERT_TRUE(driver.wait_not_busy());
  EXPECT_EQ(IdeRig::contents(disk, 0, 512), IdeRig::pattern(0, 512));
  EXPECT_EQ(IdeRig::contents(disk, 5 * kSector, 512), first);
  EXPECT_EQ(IdeRig::contents(disk, 6 * kSector, 512), second);
}

TEST_F(IdeChannelTest, ResetInTheMiddleOfADataBlockEndsIt) {
  rig.add_disk(kMiB, 0);
  driver.issue({.code = 0x20, .device = kLba, .count = 4, .lba = 1});
  ASSERT_TRUE(driver.wait_not_busy());
  FakeAtaDriver::Result result;
  driver.read_block(result, 100);
  driver.software_reset();
  EXPECT_EQ(in<uint16_t>(driver.command_block(), 0), 0);
  EXPECT_EQ(driver.alternate_status(), 0x50);
  EXPECT_EQ(driver.pio_in({.code = 0x20, .device = kLba, .count = 1, .lba = 9}, 512).data,
            IdeRig::pattern(9 * kSector, 512));
}

TEST_F(IdeChannelTest, DiagnosticIsRunByBothAndReportedByTheMaster) {
  rig.add_disk(kMiB, 0);
  rig.add_cdrom(10, 1);
  driver.select(1);
  driver.put(reg::kCommand, 0x90);
  EXPECT_TRUE(driver.line());
  EXPECT_EQ(driver.get(reg::kDevice) & 0x10, 0);
  EXPECT_EQ(driver.get(reg::kError), 0x01);
  EXPECT_EQ(signature(), 0x0000);
  EXPECT_EQ(driver.get(reg::kStatus), 0x50);
  driver.select(1);
  EXPECT_EQ(signature(), 0xeb14);
}

TEST_F(IdeChannelTest, ChannelsAreApart) {
  rig.add_disk(kMiB, 0);
  rig.add_disk(2 * kMiB, 0, {}, 1);
  EXPECT_TRUE(rig.driver2.pio_in({.code = 0x20, .device = kLba, .count = 1, .lba = 3000}, 512).is_good());
  EXPECT_TRUE(rig.driver2
                  .dma({.code = 0xc8, .device = kLba, .count = 1, .lba = 1}, true,
                       {{.address = IdeRig::kData, .count = 512, .is_last = true}})
                  .is_good());
  EXPECT_EQ(rig.lines[0].rises, 0);
  EXPECT_GT(rig.lines[1].rises, 0);
  EXPECT_EQ(driver.bus_master_get(4), 0);
}

TEST_F(IdeChannelTest, WideAccessesToTheDataPortMoveAsManyBytes) {
  rig.add_disk(kMiB, 0);
  driver.issue({.code = 0x20, .device = kLba, .count = 1, .lba = 1});
  ASSERT_TRUE(driver.wait_not_busy());
  const Bytes expected = IdeRig::pattern(512, 512);
  EXPECT_EQ(in<uint32_t>(driver.command_block(), 0),
            load_le<uint32_t>(std::as_bytes(std::span(expected)).data()));
  EXPECT_EQ(in<uint8_t>(driver.command_block(), 0), expected[4]);
}

TEST_F(IdeChannelTest, PortsAnswerWhereTheFunctionDecodesThem) {
  rig.add_disk(kMiB, 0);
  const auto write_config = [&](uint8_t offset, uint16_t value) {
    std::array<std::byte, 2> bytes{};
    store_le<uint16_t>(bytes.data(), value);
    rig.controller.write_config(offset, bytes);
  };
  write_config(0x40, 0x0000);
  EXPECT_EQ(driver.alternate_status(), 0xff);
  EXPECT_EQ(driver.get(reg::kStatus), 0xff);
  write_config(0x40, 0x8000);
  EXPECT_EQ(driver.alternate_status(), 0x50);
  write_config(pci::kCommand, 0);
  EXPECT_EQ(driver.alternate_status(), 0xff);
  rig.controller.enable_channels();
  EXPECT_EQ(driver.alternate_status(), 0x50);
  rig.controller.reset();
  EXPECT_EQ(driver.alternate_status(), 0xff);
}

TEST_F(IdeChannelTest, WithoutBusMasteringDmaFails) {
  rig.add_disk(kMiB, 0);
  std::array<std::byte, 2> bytes{std::byte{1}, std::byte{0}};
  rig.controller.write_config(pci::kCommand, bytes);
  const auto result = driver.dma({.code = 0xc8, .device = kLba, .count = 1, .lba = 1}, true,
                                 {{.address = IdeRig::kData, .count = 512, .is_last = true}});
  EXPECT_EQ(result.bus_master & 0x07, 0x06);
  EXPECT_EQ(result.error, 0x04);
  EXPECT_EQ(rig.ram_bytes(IdeRig::kData, 512), Bytes(512));
}

TEST_F(IdeChannelTest, TheFunctionIsThePiix3s) {
  const auto read = [&](uint8_t offset) {
    std::array<std::byte, 4> bytes{};
    rig.controller.read_config(offset, bytes);
    return load_le<uint32_t>(bytes.data());
  };
  EXPECT_EQ(read(0x00), 0x7010'8086U);
  EXPECT_EQ(read(0x08) >> 8, 0x01'01'80U);
  EXPECT_EQ(read(0x10), 0U);
  EXPECT_EQ(read(0x20) & 0x0f, 1U);
  EXPECT_EQ(read(0x40), 0x8000'8000U);
}

TEST_F(IdeChannelTest, HardwareResetForgetsWhatDriversSet) {
  rig.add_disk(kMiB, 0);
  EXPECT_TRUE(driver.no_data({.code = 0xef, .features = 0x82}).is_good());
  EXPECT_TRUE(driver.no_data({.code = 0xef, .features = 0x03, .count = 0x22}).is_good());
  rig.controller.channel(0).reset();
  const Bytes data = driver.pio_in({.code = 0xec}, 512).data;
  EXPECT_EQ(data.at(170) & 0x20, 0x20);
  EXPECT_EQ(data.at(127), 0);
}

TEST_F(IdeChannelTest, AQuiescedDriveBeginsNothingUntilItIsResumed) {
  auto& disk = rig.add_disk(kMiB, 0);
  disk.set_deferred(true);
  driver.issue({.code = 0x20, .device = kLba, .count = 1, .lba = 1});
  rig.turn();
  bool is_quiet = false;
  rig.controller.channel(0).drive_io(0).quiesce([&] { is_quiet = true; });
  rig.turn();
  EXPECT_FALSE(is_quiet);
  disk.complete_all();
  rig.turn();
  EXPECT_TRUE(is_quiet);
  FakeAtaDriver::Result result;
  driver.read_block(result, 512);
  driver.issue({.code = 0x20, .device = kLba, .count = 1, .lba = 2});
  rig.turn();
  EXPECT_EQ(disk.in_flight(), 0U);
  rig.controller.channel(0).drive_io(0).resume();
  rig.turn();
  EXPECT_EQ(disk.in_flight(), 1U);
  disk.complete_all();
}

TEST_F(IdeChannelTest, AFullDiskIsTriedAgain) {
  auto& disk = rig.add_disk(kMiB, 0);
  disk.set_capacity(0);
  driver.issue({.code = 0x20, .device = kLba, .count = 1, .lba = 1});
  rig.turn();
  EXPECT_EQ(driver.alternate_status() & 0x80, 0x80);
  disk.set_capacity(1);
  EXPECT_TRUE(driver.wait_not_busy());
}

}  // namespace
}  // namespace vmm::ide
