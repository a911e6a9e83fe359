// The host's hand at the drive while the guest runs.
#include <gtest/gtest.h>

#include "tests/unit/devices/ide/ide_rig.h"

namespace vmm::ide {
namespace {

using SenseBytes = std::array<uint8_t, 3>;
constexpr SenseBytes kTrayOpen{0x02, 0x3a, 0x02};
constexpr SenseBytes kTrayClosed{0x02, 0x3a, 0x01};
constexpr SenseBytes kChanged{0x06, 0x28, 0x00};

class CdTrayTest : public testing::Test {
 protected:
  void add(uint32_t blocks) {
    tray = &rig.add_cdrom(blocks);
    driver.clear_attention();
    static_cast<void>(event());
  }
  // What GET EVENT STATUS NOTIFICATION tells of the medium.
  int event() { return driver.packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}).data.at(4); }
  SenseBytes test_unit_ready() {
    return driver.packet({0x00}).is_good() ? SenseBytes{} : driver.request_sense();
  }

  IdeRig rig;
  FakeAtaDriver& driver = rig.driver;
  CdTray* tray = nullptr;
};

TEST_F(CdTrayTest, AnUnlockedTrayOpens) {
  add(100);
  EXPECT_EQ(tray->open(false), CdTray::Opened::kOpen);
  EXPECT_TRUE(tray->status().is_open);
  EXPECT_TRUE(tray->status().has_medium);
  EXPECT_EQ(test_unit_ready(), kTrayOpen);
  EXPECT_EQ(event(), 3);
}

TEST_F(CdTrayTest, TellsThatItMovesWhoeverMovesIt) {
  add(100);
  std::vector<bool> told;
  tray->set_on_moved([&] { told.push_back(tray->status().is_open); });
  tray->open(false);
  tray->open(false);
  tray->close();
  static_cast<void>(test_unit_ready());  // the attention
  EXPECT_TRUE(driver.packet({0x1b, 0, 0, 0, 2}).is_good());
  EXPECT_TRUE(driver.packet({0x1b, 0, 0, 0, 3}).is_good());
  EXPECT_EQ(told, (std::vector<bool>{true, false, true, false}));
  static_cast<void>(test_unit_ready());
  EXPECT_TRUE(driver.packet({0x1e, 0, 0, 0, 1}).is_good());
  tray->open(false);  // it is locked, and the guest only asked
  EXPECT_EQ(told.size(), 4U);
}

TEST_F(CdTrayTest, ALockedTrayAsksTheGuestWhichMayOpenIt) {
  add(100);
  EXPECT_TRUE(driver.packet({0x1e, 0, 0, 0, 1}).is_good());
  EXPECT_TRUE(tray->status().is_locked);
  EXPECT_EQ(tray->open(false), CdTray::Opened::kGuestAsked);
  EXPECT_FALSE(tray->status().is_open);
  EXPECT_EQ(event(), 1);
  EXPECT_TRUE(driver.packet({0x1e, 0, 0, 0, 0}).is_good());
  EXPECT_TRUE(driver.packet({0x1b, 0, 0, 0, 2}).is_good());
  EXPECT_TRUE(tray->status().is_open);
}

TEST_F(CdTrayTest, ForceOpensALockedTray) {
  add(100);
  EXPECT_TRUE(driver.packet({0x1e, 0, 0, 0, 1}).is_good());
  EXPECT_EQ(tray->open(true), CdTray::Opened::kOpen);
  EXPECT_EQ(test_unit_ready(), kTrayOpen);
  EXPECT_FALSE(tray->status().is_locked);
}

TEST_F(CdTrayTest, AChangedDiscIsAnAttentionAndANewMediumEvent) {
  add(100);
  auto& other = rig.image(50 * kCdBlockBytes);
  EXPECT_EQ(tray->open(false), CdTray::Opened::kOpen);
  bool is_removed = false;
  tray->remove([&] { is_removed = true; });
  EXPECT_FALSE(tray->status().has_medium);
  rig.turn();
  EXPECT_TRUE(is_removed);
  bool is_inserted = false;
  tray->insert(other, [&] { is_inserted = true; });
  rig.turn();
  EXPECT_TRUE(is_inserted);
  EXPECT_EQ(test_unit_ready(), kTrayOpen);
  tray->close();
  EXPECT_EQ(event(), 2);
  EXPECT_EQ(test_unit_ready(), kChanged);
  EXPECT_EQ(test_unit_ready(), SenseBytes{});
  EXPECT_EQ(driver.packet({0x25}).data, (Bytes{0, 0, 0, 49, 0, 0, 8, 0}));
  EXPECT_EQ(driver.packet({0x28, 0, 0, 0, 0, 1, 0, 0, 1}).data, IdeRig::pattern(2048, 2048));
  EXPECT_EQ(other.history().size(), 1U);
}

TEST_F(CdTrayTest, ADiscComesIntoAnEmptyDrive) {
  add(0);
  EXPECT_EQ(test_unit_ready(), kTrayClosed);
  tray->insert(rig.image(10 * kCdBlockBytes), {});
  EXPECT_EQ(test_unit_ready(), kTrayClosed);  // not before the disk's thread has it
  rig.turn();
  EXPECT_EQ(test_unit_ready(), kChanged);
  EXPECT_EQ(test_unit_ready(), SenseBytes{});
}

TEST_F(CdTrayTest, TheGuestPutsTheSameDiscBack) {
  add(100);
  EXPECT_TRUE(driver.packet({0x1b, 0, 0, 0, 2}).is_good());
  EXPECT_TRUE(driver.packet({0x1b, 0, 0, 0, 3}).is_good());
  EXPECT_EQ(test_unit_ready(), kChanged);
  EXPECT_TRUE(driver.packet({0x28, 0, 0, 0, 0, 1, 0, 0, 1}).is_good());
}

TEST_F(CdTrayTest, ForcedRemovalFailsTheReadThatIsUnderWayAndWaitsForTheHost) {
  add(100);
  rig.medium->set_deferred(true);
  FakeAtaDriver::Result result;
  ASSERT_TRUE(driver.send_packet(result, {0x28, 0, 0, 0, 0, 0, 0, 0, 10}, 0x8000, 0));
  rig.turn();
  ASSERT_EQ(rig.medium->in_flight(), 1U);
  EXPECT_EQ(tray->open(true), CdTray::Opened::kOpen);
  bool is_removed = false;
  tray->remove([&] { is_removed = true; });
  EXPECT_EQ(driver.alternate_status() & 0x89, 0x01);
  EXPECT_TRUE(driver.line());
  EXPECT_EQ(driver.get(reg::kError), 0x20);
  rig.turn();
  EXPECT_FALSE(is_removed);  // the host still writes to its buffer
  rig.medium->complete_all();
  rig.turn();
  EXPECT_TRUE(is_removed);
  EXPECT_EQ(test_unit_ready(), kTrayOpen);
}

TEST_F(CdTrayTest, AReadBetweenTwoStepsDoesNotGoOnWithAnotherDisc) {
  add(200);
  FakeAtaDriver::Result result;
  ASSERT_TRUE(driver.send_packet(result, {0x28, 0, 0, 0, 0, 0, 0, 0, 100}, 0x8000, 0));
  ASSERT_TRUE(driver.next_status());
  auto& other = rig.image(200 * kCdBlockBytes);
  EXPECT_EQ(tray->open(true), CdTray::Opened::kOpen);
  tray->remove({});
  tray->insert(other, {});
  rig.turn();
  tray->close();
  std::optional<uint8_t> status = 0x08;
  while (status && (*status & 0x08) != 0) {
    driver.read_block(result, driver.byte_count());
    status = driver.next_status();
  }
  EXPECT_EQ(result.data, IdeRig::pattern(0, 128 << 10));
  EXPECT_EQ(status.value_or(0) & 0x01, 0x01);
  EXPECT_TRUE(other.history().empty());
}

TEST_F(CdTrayTest, AReadThatHasNotBegunDoesNotBeginOnAnotherDisc) {
  add(200);
  FakeAtaDriver::Result result;
  ASSERT_TRUE(driver.send_packet(result, {0x28, 0, 0, 0, 0, 150, 0, 0, 10}, 0x8000, 0));
  auto& other = rig.image(2 * kCdBlockBytes);
  EXPECT_EQ(tray->open(true), CdTray::Opened::kOpen);
  tray->remove({});
  tray->insert(other, {});
  rig.turn();
  EXPECT_TRUE(rig.medium->history().empty());
  EXPECT_TRUE(other.history().empty());
  tray->close();
  EXPECT_EQ(test_unit_ready(), kChanged);
  EXPECT_EQ(driver.packet({0x28, 0, 0, 0, 0, 1, 0, 0, 1}).data, IdeRig::pattern(2048, 2048));
}

// A vCPU may be slow with what it was given before the removal.
TEST_F(CdTrayTest, AReadThatArrivesLateDoesNotBeginOnAnotherDisc) {
  add(200);
  auto& other = rig.image(2 * kCdBlockBytes);
  auto& io = rig.controller.channel(0).drive_io(0);
  const auto read = [&](uint64_t number) {
    io.start({.number = number, .length_bytes = 2048, .buffer = std::vector<std::byte>(2048)});
    rig.turn();
  };
  io.change_disk(&other, 1000, {});
  read(1000);
  EXPECT_TRUE(other.history().empty());
  read(1001);
  EXPECT_EQ(other.history().size(), 1U);
}

TEST_F(CdTrayTest, AReadThatALimitMakesWaitKeepsNoDiscInTheDrive) {
  add(200);
  rig.medium->set_deferred(true);
  rig.medium->set_limited(true);
  FakeAtaDriver::Result result;
  ASSERT_TRUE(driver.send_packet(result, {0x28, 0, 0, 0, 0, 0, 0, 0, 10}, 0x8000, 0));
  rig.turn();
  ASSERT_EQ(rig.medium->in_flight(), 1U);
  EXPECT_EQ(tray->open(true), CdTray::Opened::kOpen);
  bool is_removed = false;
  tray->remove([&] { is_removed = true; });
  rig.turn();
  EXPECT_EQ(rig.medium->in_flight(), 0U);
  EXPECT_TRUE(is_removed);
}

TEST_F(CdTrayTest, ADiscThatIsOutAgainBeforeItIsInIsNotSeen) {
  add(200);
  auto& other = rig.image(20 * kCdBlockBytes);
  tray->remove({});
  std::optional<bool> is_seen;
  tray->insert(other, [&] { is_seen = tray->status().has_medium; });
  tray->remove({});
  rig.turn();
  EXPECT_EQ(is_seen, false);
  EXPECT_EQ(test_unit_ready(), kTrayClosed);
}

TEST_F(CdTrayTest, ClosingAnEmptyTrayBringsNothing) {
  add(0);
  EXPECT_EQ(tray->open(false), CdTray::Opened::kOpen);
  tray->close();
  EXPECT_EQ(test_unit_ready(), kTrayClosed);
  EXPECT_EQ(event(), 0);
}

TEST_F(CdTrayTest, TheDiscStaysOverAReset) {
  add(100);
  EXPECT_TRUE(driver.packet({0x1e, 0, 0, 0, 1}).is_good());
  rig.controller.channel(0).reset();
  EXPECT_TRUE(tray->status().has_medium);
  EXPECT_FALSE(tray->status().is_locked);
  driver.clear_attention();
  EXPECT_TRUE(driver.packet({0x28, 0, 0, 0, 0, 1, 0, 0, 1}).is_good());
}

TEST_F(CdTrayTest, ChangesAreMadeWhileTheDriveIsQuiesced) {
  add(100);
  auto& io = rig.controller.channel(0).drive_io(0);
  bool is_quiet = false;
  io.quiesce([&] { is_quiet = true; });
  rig.turn();
  EXPECT_TRUE(is_quiet);
  bool is_removed = false;
  tray->remove([&] { is_removed = true; });
  rig.turn();
  EXPECT_TRUE(is_removed);
  io.resume();
  EXPECT_EQ(test_unit_ready(), kTrayClosed);
}

}  // namespace
}  // namespace vmm::ide
