// Guests that do what no driver does: the protocol's error, and never more.
#include <gtest/gtest.h>

#include "tests/unit/devices/ide/ide_rig.h"
#include "vmm/base/bytes.h"

namespace vmm::ide {
namespace {

class HostileIdeDriver : public testing::Test {
 protected:
  IdeRig rig;
  FakeAtaDriver& driver = rig.driver;
};

// CVE-2015-5154: data written and read beyond the end of a transfer.
TEST_F(HostileIdeDriver, TheDataPortEndsWithItsBlock) {
  rig.add_cdrom(100);
  driver.clear_attention();
  driver.issue({.code = 0xa0, .lba = 0x8000});
  for (int i = 0; i < 100'000; ++i) {
    out<uint32_t>(driver.command_block(), 0, 0x0000'0012);
  }
  ASSERT_TRUE(driver.wait_not_busy());
  for (int i = 0; i < 100'000; ++i) {
    in<uint32_t>(driver.command_block(), 0);
  }
  EXPECT_TRUE(driver.packet({0x00}).is_good());
}

TEST_F(HostileIdeDriver, DataInTheWrongDirectionAreLost) {
  rig.add_disk(kMiB);
  driver.issue({.code = 0x20, .device = kLba, .count = 1, .lba = 1});
  ASSERT_TRUE(driver.wait_not_busy());
  for (int i = 0; i < 1000; ++i) {
    out<uint16_t>(driver.command_block(), 0, 0xffff);
  }
  FakeAtaDriver::Result result;
  driver.read_block(result, 512);
  EXPECT_EQ(result.data, IdeRig::pattern(512, 512));
  driver.issue({.code = 0x30, .device = kLba, .count = 1, .lba = 1});
  EXPECT_EQ(in<uint16_t>(driver.command_block(), 0), 0);
}

// CVE-2014-9718, and tables outside of memory.
TEST_F(HostileIdeDriver, EveryBadTableEndsTheCommandWithAnError) {
  rig.add_disk(2 * kMiB);
  const std::vector<std::vector<Prd>> tables = {
      {{.address = 0xffff'fff0, .count = 512, .is_last = true}},
      {{.address = IdeRig::kRamBytes - 256, .count = 512, .is_last = true}},
      std::vector<Prd>(9000, {.address = IdeRig::kData, .count = 2}),
  };
  for (const auto& table : tables) {
    const auto result =
        driver.dma({.code = 0x25, .device = kLba, .count = 100, .lba = 1, .is_extended = true}, true, table);
    EXPECT_EQ(result.bus_master & 0x07, 0x06);
    EXPECT_EQ(result.status & 0x89, 0x01);
    EXPECT_EQ(result.error, 0x04);
  }
  driver.table = 0xffff'fffc;
  EXPECT_EQ(driver.dma({.code = 0xc8, .device = kLba, .count = 1, .lba = 1}, true, {}).bus_master & 0x07,
            0x06);
}

TEST_F(HostileIdeDriver, ABadTableOfAPacketIsAHardwareError) {
  rig.add_cdrom(100);
  driver.clear_attention();
  const auto result = driver.packet_dma({0x28, 0, 0, 0, 0, 0, 0, 0, 1}, true,
                                        {{.address = 0xff00'0000, .count = 2048, .is_last = true}});
  EXPECT_EQ(result.error, 0x40);
  EXPECT_EQ(driver.request_sense(), (std::array<uint8_t, 3>{0x04, 0x08, 0x00}));
}

TEST_F(HostileIdeDriver, ATableThatIsTooShortLeavesTheDriveWaitingForAReset) {
  rig.add_disk(kMiB);
  driver.build_table({{.address = IdeRig::kData, .count = 100, .is_last = true}});
  driver.prepare_dma(true);
  driver.issue({.code = 0xc8, .device = kLba, .count = 1, .lba = 1});
  driver.start_dma(true);
  rig.turn();
  EXPECT_EQ(driver.bus_master_get(2) & 0x07, 0x00);
  EXPECT_EQ(driver.alternate_status() & 0x88, 0x08);
  driver.software_reset();
  EXPECT_TRUE(driver.pio_in({.code = 0x20, .device = kLba, .count = 1}, 512).is_good());
}

TEST_F(HostileIdeDriver, ATableThatOverwritesItselfIsFollowedOnce) {
  rig.add_disk(kMiB);
  // The first entry's data lands on the table: what was read of it counts, and the walk ends all the same.
  const auto result = driver.dma(
      {.code = 0xc8, .device = kLba, .count = 8, .lba = 0}, true,
      {{.address = driver.table, .count = 1024}, {.address = IdeRig::kData, .count = 3072, .is_last = true}});
  EXPECT_EQ(result.bus_master & 0x04, 0x04);
  EXPECT_TRUE(driver.wait_not_busy());
}

TEST_F(HostileIdeDriver, ThePacketBytesDecideNotTheRegistersThatFollow) {
  rig.add_cdrom(100);
  driver.clear_attention();
  FakeAtaDriver::Result result;
  driver.issue({.code = 0xa0, .lba = 0x0800 << 8});
  driver.put(reg::kLbaMid, 0xff);
  driver.put(reg::kLbaHigh, 0xff);
  driver.put(reg::kFeatures, 0x01);
  driver.write_words(Bytes{0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0});
  ASSERT_TRUE(driver.wait_not_busy());
  EXPECT_EQ(driver.byte_count(), 2048U);
}

TEST_F(HostileIdeDriver, EveryCommandOnEveryDriveEndsOrWaitsForData) {
  rig.add_disk(kMiB, 0);
  rig.add_cdrom(100, 1);
  for (unsigned code = 0; code < 256; ++code) {
    for (const uint8_t device : Bytes{0xa0, 0xe0, 0xb0}) {
      driver.issue({.code = static_cast<uint8_t>(code), .device = device, .count = 1, .lba = 1});
      ASSERT_TRUE(driver.wait_not_busy()) << code;
      driver.software_reset();
    }
  }
}

TEST_F(HostileIdeDriver, EveryPacketEndsOrWaitsForData) {
  rig.add_cdrom(100);
  for (unsigned opcode = 0; opcode < 256; ++opcode) {
    for (const uint8_t fill : Bytes{0x00, 0x01, 0x10, 0xff}) {
      FakeAtaDriver::Result result;
      ASSERT_TRUE(driver.send_packet(
          result, {static_cast<uint8_t>(opcode), fill, 0, 0, 0, fill, 0, fill, fill, fill, fill, fill}, 0x10,
          0));
      ASSERT_TRUE(driver.wait_not_busy()) << opcode;
      driver.software_reset();
    }
  }
}

TEST_F(HostileIdeDriver, ResetsAtEveryMomentOfATransferLeaveAWorkingDrive) {
  auto& disk = rig.add_disk(kMiB);
  for (int moment = 0; moment < 40; ++moment) {
    disk.set_deferred(true);
    driver.build_table({{.address = IdeRig::kData, .count = 0x8000, .is_last = true}});
    driver.prepare_dma(true);
    driver.issue({.code = 0xc8, .device = kLba, .count = 64, .lba = 1});
    if (moment % 2 != 0) {
      driver.start_dma(true);
    }
    for (int i = 0; i < moment % 5; ++i) {
      rig.turn();
      if (i == moment % 3) {
        disk.complete_all();
      }
    }
    driver.software_reset();
    disk.set_deferred(false);
    disk.complete_all();
    ASSERT_TRUE(driver.pio_in({.code = 0x20, .device = kLba, .count = 1, .lba = 3}, 512).is_good()) << moment;
  }
}

TEST_F(HostileIdeDriver, ACommandAfterAResetDoesNotWaitForOneThatALimitOfTheDiskMadeWait) {
  auto& disk = rig.add_disk(kMiB);
  disk.set_deferred(true);
  disk.set_limited(true);
  driver.issue({.code = 0x20, .device = kLba, .count = 1, .lba = 1});
  rig.turn();
  ASSERT_EQ(disk.in_flight(), 1U);
  driver.software_reset();
  for (int i = 0; i < 1000; ++i) {  // between two turns of the loop
    driver.issue({.code = 0x20, .device = kLba, .count = 1, .lba = 2});
    driver.software_reset();
  }
  driver.issue({.code = 0x20, .device = kLba, .count = 1, .lba = 3});
  rig.turn();
  ASSERT_EQ(disk.in_flight(), 1U);
  EXPECT_EQ(disk.history().back().offset.bytes(), 3 * kSector);
  disk.complete_all();
  ASSERT_TRUE(driver.wait_not_busy());
}

TEST_F(HostileIdeDriver, AnEndlessStreamOfResetsHoldsTwoBuffersAtMost) {
  auto& disk = rig.add_disk(kMiB);
  disk.set_deferred(true);
  for (int i = 0; i < 10'000; ++i) {
    driver.issue({.code = 0x20, .device = kLba, .count = 1, .lba = 1});
    driver.software_reset();
    if (i % 100 == 0) {
      rig.turn();
    }
    ASSERT_LE(disk.in_flight(), 1U);
  }
  disk.set_deferred(false);
  disk.complete_all();
  EXPECT_TRUE(driver.pio_in({.code = 0x20, .device = kLba, .count = 1, .lba = 3}, 512).is_good());
}

}  // namespace
}  // namespace vmm::ide
