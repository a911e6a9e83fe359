// The same with real threads, for the thread sanitizer above all; every wait is bounded.
#include <gtest/gtest.h>

#include <atomic>

#include <thread>

#include "tests/unit/devices/ide/ide_rig.h"
#include "tests/unit/fakes/loop_thread.h"
#include "vmm/base/bytes.h"

namespace vmm::ide {
namespace {

TEST(IdeThreads, EveryReadIsAnsweredByInterrupt) {
  IdeRig rig;
  rig.add_disk(kMiB);
  FakeAtaDriver& driver = rig.driver;
  const LoopThread io(*rig.loop);
  for (uint16_t i = 0; i < 500; ++i) {
    driver.build_table({{.address = IdeRig::kData, .count = 1024, .is_last = true}});
    driver.prepare_dma(true);
    driver.issue({.code = 0xc8, .device = kLba, .count = 2, .lba = i});
    driver.start_dma(true);
    ASSERT_TRUE(eventually([&] { return driver.line(); })) << i;
    ASSERT_TRUE(driver.end_dma().is_good()) << i;
    ASSERT_EQ(rig.ram_bytes(IdeRig::kData, 1024), IdeRig::pattern(i * kSector, 1024));
  }
}

TEST(IdeThreads, ResetsAndCommandsOfTwoVcpusLeaveAWorkingDrive) {
  IdeRig rig;
  rig.add_disk(kMiB, 0);
  rig.add_cdrom(100, 1);
  FakeAtaDriver& driver = rig.driver;
  const LoopThread io(*rig.loop);
  std::thread resetter([&] {
    for (int i = 0; i < 500; ++i) {
      driver.software_reset();
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 500; ++i) {
    driver.issue({.code = 0x20, .device = kLba, .count = 8, .lba = 1});
    driver.issue({.code = 0xa0, .device = 0xb0, .lba = 0x8000});
    for (int word = 0; word < 50; ++word) {
      in<uint16_t>(driver.command_block(), 0);
      out<uint16_t>(driver.command_block(), 0, 0x0028);
    }
  }
  resetter.join();
  driver.software_reset();
  driver.issue({.code = 0x20, .device = kLba, .count = 1, .lba = 7});
  ASSERT_TRUE(eventually([&] { return (driver.alternate_status() & 0x80) == 0; }));
  FakeAtaDriver::Result result;
  driver.read_block(result, 512);
  EXPECT_EQ(result.data, IdeRig::pattern(7 * kSector, 512));
}

TEST(IdeThreads, DiscsAreChangedWhileTheGuestReads) {
  IdeRig rig;
  CdTray& tray = rig.add_cdrom(100);
  auto& first = *rig.medium;
  auto& second = rig.image(100 * kCdBlockBytes);
  FakeAtaDriver& driver = rig.driver;
  const LoopThread io(*rig.loop);
  std::atomic<bool> must_stop{false};
  std::thread guest([&] {
    while (!must_stop) {
      FakeAtaDriver::Result result;
      driver.issue({.code = 0xa0, .lba = 0x8000 << 8});
      driver.write_words(Bytes{0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0});
      static_cast<void>(eventually([&] { return (driver.alternate_status() & 0x80) == 0; }));
      if ((driver.get(reg::kStatus) & 0x08) != 0) {
        driver.read_block(result, driver.byte_count());
      }
    }
  });
  for (int i = 0; i < 100; ++i) {
    std::atomic<bool> is_out{false};
    std::atomic<bool> is_in{false};
    EXPECT_EQ(tray.open(true), CdTray::Opened::kOpen);
    tray.remove([&] { is_out = true; });
    ASSERT_TRUE(eventually([&] { return is_out.load(); }));
    tray.insert(i % 2 == 0 ? second : first, [&] { is_in = true; });
    ASSERT_TRUE(eventually([&] { return is_in.load(); }));
    tray.close();
  }
  must_stop = true;
  guest.join();
  EXPECT_TRUE(tray.status().has_medium);
}

}  // namespace
}  // namespace vmm::ide
