#include "devices/ide/atapi_drive.h"

#include <gtest/gtest.h>

#include "tests/unit/devices/ide/ide_rig.h"

namespace vmm::ide {
namespace {

using SenseBytes = std::array<uint8_t, 3>;

class AtapiDriveTest : public testing::TestWithParam<FakeAtaDriver::Waits> {
 protected:
  AtapiDriveTest() { rig.driver.waits = GetParam(); }
  void add(uint32_t blocks) {
    tray = &rig.add_cdrom(blocks);
    driver.clear_attention();
  }

  IdeRig rig;
  FakeAtaDriver& driver = rig.driver;
  CdTray* tray = nullptr;
};
INSTANTIATE_TEST_SUITE_P(Waiting, AtapiDriveTest,
                         testing::Values(FakeAtaDriver::Waits::kPolling, FakeAtaDriver::Waits::kInterrupt),
                         [](const auto& param_info) {
                           return param_info.param == FakeAtaDriver::Waits::kPolling ? "Polling"
                                                                                     : "Interrupt";
                         });

TEST_P(AtapiDriveTest, IdentifiesItselfAsAPacketDevice) {
  add(100);
  const auto result = driver.pio_in({.code = 0xa1}, 512);
  EXPECT_TRUE(result.is_good());
  ASSERT_EQ(result.data.size(), 512U);
  EXPECT_EQ(result.data[0] | result.data[1] << 8, 0x85c0);
  EXPECT_EQ(result.data[99] & 0x01, 0x01);
  EXPECT_EQ(result.data[250], 0);
}

TEST_P(AtapiDriveTest, HasTheWorldWideNameThatItIsGiven) {
  IdeRig named;
  named.add_cdrom(100, 0, 0, 0x5000'c500'a0b1'c2d3);
  const Bytes data = named.driver.pio_in({.code = 0xa1}, 512).data;
  ASSERT_EQ(data.size(), 512U);
  EXPECT_EQ(data[2 * 87 + 1], 0x41);
  EXPECT_EQ(data[2 * 108 + 1] << 8 | data[2 * 108], 0x5000);
  EXPECT_EQ(data[2 * 111 + 1] << 8 | data[2 * 111], 0xc2d3);
}

TEST_P(AtapiDriveTest, IdentifyDeviceIsAbortedWithTheSignature) {
  add(100);
  driver.put(reg::kLbaMid, 0);
  for (const uint8_t code : Bytes{0xec, 0x20}) {
    const auto result = driver.no_data({.code = code});
    EXPECT_EQ(result.error, 0x04);
    EXPECT_EQ(driver.get(reg::kLbaMid), 0x14);
    EXPECT_EQ(driver.get(reg::kLbaHigh), 0xeb);
  }
}

TEST_P(AtapiDriveTest, AsksForThePacketWithoutAnInterrupt) {
  add(100);
  driver.issue({.code = 0xa0, .lba = 0x8000});
  EXPECT_EQ(driver.alternate_status() & 0x89, 0x08);
  EXPECT_EQ(driver.get(reg::kCount) & 0x03, 0x01);
  EXPECT_FALSE(driver.line());
}

TEST_P(AtapiDriveTest, ReadsBlocksByPort) {
  add(1000);
  const auto result = driver.packet({0x28, 0, 0, 0, 0, 7, 0, 0, 3}, 2048);
  EXPECT_TRUE(result.is_good());
  EXPECT_EQ(result.data, IdeRig::pattern(7 * kCdBlock, 3 * kCdBlock));
  EXPECT_EQ(result.blocks, (std::vector<size_t>{2048, 2048, 2048}));
  EXPECT_EQ(driver.get(reg::kCount) & 0x03, 0x03);
}

TEST_P(AtapiDriveTest, DataBlocksAreAsLongAsTheLimitAndEven) {
  add(1000);
  EXPECT_EQ(driver.packet({0x28, 0, 0, 0, 0, 0, 0, 0, 2}, 3001).blocks, (std::vector<size_t>{3000, 1096}));
  EXPECT_EQ(driver.packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 0xffff).blocks, (std::vector<size_t>{2048}));
  EXPECT_EQ(driver.packet({0x12, 0, 0, 0, 5}, 4).blocks, (std::vector<size_t>{4, 1}));
  EXPECT_EQ(driver.packet({0x12, 0, 0, 0, 3}, 1).blocks, (std::vector<size_t>{1, 1, 1}));
}

TEST_P(AtapiDriveTest, LongReadsTakeSteps) {
  add(1000);
  const auto result = driver.packet({0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 200}, 0xfffe);
  EXPECT_TRUE(result.is_good());
  EXPECT_EQ(result.data, IdeRig::pattern(2048, 200 * kCdBlock));
  for (const auto& record : rig.medium->history()) {
    EXPECT_LE(record.length_bytes, kStepBytes);
  }
}

TEST_P(AtapiDriveTest, ReadsByDma) {
  add(1000);
  std::vector<Prd> table;
  table.reserve(7);
  for (uint32_t i = 0; i < 7; ++i) {
    table.push_back(
        {.address = IdeRig::kData + i * 0x1'0000, .count = i < 6 ? 0 : 0x4000U, .is_last = i == 6});
  }
  const auto result = driver.packet_dma({0x28, 0, 0, 0, 0, 2, 0, 0, 200}, true, table);
  EXPECT_TRUE(result.is_good());
  EXPECT_EQ(rig.ram_bytes(IdeRig::kData, 200 * kCdBlock), IdeRig::pattern(2 * kCdBlock, 200 * kCdBlock));
}

TEST_P(AtapiDriveTest, RepliesByDmaToo) {
  add(1000);
  const auto result =
      driver.packet_dma({0x25}, true, {{.address = IdeRig::kData, .count = 8, .is_last = true}});
  EXPECT_TRUE(result.is_good());
  EXPECT_EQ(rig.ram_bytes(IdeRig::kData, 8), (Bytes{0, 0, 0x03, 0xe7, 0, 0, 8, 0}));
}

TEST_P(AtapiDriveTest, ACommandWithoutDataEndsAtOnce) {
  add(1000);
  const int before = driver.rises();
  const auto result = driver.packet({0x00});
  EXPECT_TRUE(result.is_good());
  EXPECT_TRUE(result.blocks.empty());
  if (GetParam() == FakeAtaDriver::Waits::kInterrupt) {
    EXPECT_EQ(driver.rises() - before, 1);
  }
}

TEST_P(AtapiDriveTest, FailuresShowTheSenseKey) {
  add(0);
  const auto result = driver.packet({0x00});
  EXPECT_EQ(result.status & 0x89, 0x01);
  EXPECT_EQ(result.error, 0x20);
  EXPECT_EQ(driver.get(reg::kCount) & 0x03, 0x03);
  EXPECT_EQ(driver.request_sense(), (SenseBytes{0x02, 0x3a, 0x01}));
}

// CVE-2020-29443: a read beyond the medium must not reach the buffer.
TEST_P(AtapiDriveTest, ReadPastEndOfMediumReportsIllegalRequest) {
  add(1000);
  const auto result = driver.packet({0x28, 0, 0, 0, 0x03, 0xe7, 0, 0, 2});
  EXPECT_EQ(result.error, 0x50);
  EXPECT_EQ(driver.request_sense(), (SenseBytes{0x05, 0x21, 0x00}));
  EXPECT_TRUE(driver.packet({0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1}).data.empty());
  EXPECT_TRUE(rig.medium->history().empty());
}

TEST_P(AtapiDriveTest, WhatTheHostCannotReadIsAMediumError) {
  add(1000);
  rig.medium->fail_next(block::BlockOp::kRead, block::IoStatus::kIoError);
  EXPECT_EQ(driver.packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1}).error, 0x30);
  EXPECT_EQ(driver.request_sense(), (SenseBytes{0x03, 0x11, 0x00}));
  EXPECT_TRUE(driver.packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1}).is_good());
}

TEST_P(AtapiDriveTest, AFailureInTheMiddleKeepsWhatWasSent) {
  add(1000);
  driver.packet({0x00});
  FakeAtaDriver::Result result;
  ASSERT_TRUE(driver.send_packet(result, {0x28, 0, 0, 0, 0, 0, 0, 0, 100}, 0x8000, 0));
  ASSERT_TRUE(driver.next_status());
  rig.medium->fail_next(block::BlockOp::kRead, block::IoStatus::kIoError);
  for (int i = 0; i < 4; ++i) {
    driver.read_block(result, driver.byte_count());
    ASSERT_TRUE(driver.next_status());
  }
  EXPECT_EQ(result.data, IdeRig::pattern(0, 128 << 10));
  EXPECT_EQ(driver.get(reg::kError), 0x30);
}

TEST_P(AtapiDriveTest, AByteCountLimitOfZeroIsNoPlaceForData) {
  add(1000);
  EXPECT_EQ(driver.packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 0).error, 0x04);
  EXPECT_EQ(driver.packet({0x12, 0, 0, 0, 36}, 0).error, 0x04);
  EXPECT_EQ(driver.packet({0x55, 0x10, 0, 0, 0, 0, 0, 0, 20}, 0).error, 0x04);
  EXPECT_TRUE(driver.packet({0x00}, 0).is_good());
  EXPECT_TRUE(driver.packet({0x12, 0, 0, 0, 0}, 0).is_good());
}

TEST_P(AtapiDriveTest, ModeSelectTakesItsListInBlocks) {
  add(1000);
  const Bytes list{0, 0, 0, 0, 0, 0, 0, 0, 0x01, 10, 0x20, 9, 0, 0, 0, 0, 0, 0, 0, 0};
  const auto result = driver.packet_out({0x55, 0x10, 0, 0, 0, 0, 0, 0, 20}, list, 8);
  EXPECT_TRUE(result.is_good());
  EXPECT_EQ(result.blocks, (std::vector<size_t>{8, 8, 4}));
  const auto page = driver.packet({0x5a, 0, 0x01, 0, 0, 0, 0, 0, 20});
  ASSERT_EQ(page.data.size(), 20U);
  EXPECT_EQ(page.data[11], 9);
}

TEST_P(AtapiDriveTest, ModeSelectByDma) {
  add(1000);
  rig.put_ram(IdeRig::kData, {0, 0, 0, 0, 0, 0, 0, 0, 0x01, 10, 0x20, 7, 0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_TRUE(driver
                  .packet_dma({0x55, 0x10, 0, 0, 0, 0, 0, 0, 20}, false,
                              {{.address = IdeRig::kData, .count = 20, .is_last = true}})
                  .is_good());
  EXPECT_EQ(driver.packet({0x5a, 0, 0x01, 0, 0, 0, 0, 0, 20}).data.at(11), 7);
}

TEST_P(AtapiDriveTest, TheLargestListFitsAndIsJudged) {
  add(1000);
  const auto result = driver.packet_out({0x55, 0x10, 0, 0, 0, 0, 0, 0xff, 0xff}, Bytes(0xffff));
  EXPECT_EQ(result.error, 0x50);
  EXPECT_EQ(driver.request_sense(), (SenseBytes{0x05, 0x26, 0x00}));
}

TEST_P(AtapiDriveTest, PowerOnIsAUnitAttentionOnce) {
  rig.add_cdrom(10);
  EXPECT_EQ(driver.packet({0x00}).error, 0x60);
  EXPECT_EQ(driver.request_sense(), (SenseBytes{0x06, 0x29, 0x00}));
  EXPECT_TRUE(driver.packet({0x00}).is_good());
}

TEST_P(AtapiDriveTest, DeviceResetBreaksInAndShowsTheSignature) {
  add(1000);
  rig.medium->set_deferred(true);
  FakeAtaDriver::Result result;
  ASSERT_TRUE(driver.send_packet(result, {0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 2048, 0));
  rig.turn();
  EXPECT_EQ(driver.alternate_status() & 0x80, 0x80);
  driver.put(reg::kCommand, 0x08);
  EXPECT_EQ(driver.alternate_status(), 0x00);
  EXPECT_EQ(driver.get(reg::kError), 0x01);
  EXPECT_EQ(driver.get(reg::kLbaMid), 0x14);
  EXPECT_FALSE(driver.line());
  rig.medium->set_deferred(false);
  rig.medium->complete_all();
  EXPECT_EQ(driver.alternate_status(), 0x00);
  EXPECT_EQ(driver.packet({0x00}).error, 0x60);
  EXPECT_TRUE(driver.packet({0x28, 0, 0, 0, 0, 3, 0, 0, 1}).is_good());
}

TEST_P(AtapiDriveTest, OtherAtaCommandsAreAborted) {
  add(1000);
  for (const uint8_t code : Bytes{0x00, 0x25, 0x30, 0xa2, 0xc8, 0xe7, 0xff}) {
    EXPECT_EQ(driver.no_data({.code = code}).error, 0x04) << +code;
  }
  EXPECT_EQ(driver.no_data({.code = 0xef, .features = 0x02}).error, 0x04);
  EXPECT_TRUE(driver.no_data({.code = 0xef, .features = 0x03, .count = 0x22}).is_good());
  EXPECT_TRUE(driver.no_data({.code = 0xe1}).is_good());
}

}  // namespace
}  // namespace vmm::ide
