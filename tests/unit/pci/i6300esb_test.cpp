#include "devices/pci/i6300esb.h"

#include <gtest/gtest.h>

#include <random>

#include "devices/pci/pci_bus.h"
#include "tests/unit/fakes/fake_clock.h"
#include "tests/unit/pci/test_function.h"

namespace vmm::pci {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr PciAddress kPlace = {.slot = 5, .function = 0};
constexpr uint64_t kBar = 0xe000'0000;
constexpr uint8_t kConfig = 0x60;
constexpr uint8_t kLock = 0x68;
constexpr uint64_t kPreload1 = 0x0;
constexpr uint64_t kPreload2 = 0x4;
constexpr uint64_t kReload = 0xc;

// On a bus, as Linux's driver uses it (drivers/watchdog/i6300esb.c).
class I6300EsbTest : public ::testing::Test {
 protected:
  I6300EsbTest() {
    EXPECT_TRUE(bus_.attach(kPlace, watchdog_));
    enable_memory();
  }

  void enable_memory() {
    config_.write<uint32_t>(kPlace, kBar0, static_cast<uint32_t>(kBar));
    config_.write<uint16_t>(kPlace, kCommand, kCommandMemorySpace);
  }

  BusDevice& registers() { return *watchdog_.bars()[0].device; }
  void unlock() {
    out<uint8_t>(registers(), kReload, 0x80);
    out<uint8_t>(registers(), kReload, 0x86);
  }
  void set_preload(uint64_t offset, uint32_t value) {
    unlock();
    out<uint32_t>(registers(), offset, value);
  }
  void reload() {
    unlock();
    out<uint16_t>(registers(), kReload, 0x0100);
  }
  bool has_run_out() { return (in<uint16_t>(registers(), kReload) & 0x0200) != 0; }
  // Each second is 512 ticks of either timer, of about 1 kHz.
  void start(uint32_t heartbeat_seconds) {
    config_.write<uint16_t>(kPlace, kConfig, 0x0003);
    config_.write<uint8_t>(kPlace, kLock, 0x00);
    set_preload(kPreload1, heartbeat_seconds << 9U);
    set_preload(kPreload2, heartbeat_seconds << 9U);
    reload();
    config_.write<uint8_t>(kPlace, kLock, 0x02);
  }

  FakeClock clock_;
  FakeAlarm alarm_{clock_};
  int ends_ = 0;
  I6300Esb watchdog_{clock_.function(), alarm_, [this] { ++ends_; }};
  IoBus ports_;
  IoBus memory_;
  PciBus bus_{ports_, memory_, nullptr};
  ConfigAccess config_{bus_};
};

TEST_F(I6300EsbTest, IsFoundByItsNumbersAndHas16BytesOfMemory) {
  EXPECT_EQ(config_.read<uint32_t>(kPlace, 0), 0x25ab'8086U);
  config_.write<uint32_t>(kPlace, kBar0, 0xffff'ffff);
  EXPECT_EQ(config_.read<uint32_t>(kPlace, kBar0), 0xffff'fff0U);
  enable_memory();
  std::array<std::byte, 4> read{};
  EXPECT_TRUE(memory_.read(kBar, read));
  EXPECT_EQ(load_le<uint32_t>(read.data()), 0xf'ffffU);
}

TEST_F(I6300EsbTest, RunsOutAfterBothTimers) {
  start(30);
  alarm_.run_for(seconds(30));
  EXPECT_EQ(ends_, 0);
  EXPECT_FALSE(has_run_out());
  alarm_.run_for(milliseconds(200));  // the PCI clock's 30 ns by 2^15 by 1024: 1.0066 s
  EXPECT_EQ(ends_, 1);
  EXPECT_TRUE(has_run_out());
  alarm_.run_for(seconds(10'000));
  EXPECT_EQ(ends_, 1);
}

TEST_F(I6300EsbTest, ReloadedItBeginsAnew) {
  start(2);
  for (int i = 0; i < 100; ++i) {
    alarm_.run_for(seconds(2));
    reload();
  }
  EXPECT_EQ(ends_, 0);
  alarm_.run_for(seconds(3));
  EXPECT_EQ(ends_, 1);
}

TEST_F(I6300EsbTest, RunsFasterWhereTheDriverSaysSo) {
  config_.write<uint16_t>(kPlace, kConfig, 0x0007);
  set_preload(kPreload1, 1'000'000);
  set_preload(kPreload2, 0);
  config_.write<uint8_t>(kPlace, kLock, 0x02);
  alarm_.run_for(milliseconds(959));
  EXPECT_EQ(ends_, 0);
  alarm_.run_for(milliseconds(1));
  EXPECT_EQ(ends_, 1);
}

TEST_F(I6300EsbTest, IsStoppedUnlessItIsLocked) {
  start(1);
  config_.write<uint8_t>(kPlace, kLock, 0x00);
  alarm_.run_for(seconds(100));
  EXPECT_EQ(ends_, 0);
  config_.write<uint8_t>(kPlace, kLock, 0x03);
  config_.write<uint8_t>(kPlace, kLock, 0x00);
  config_.write<uint32_t>(kPlace, kLock, 0);
  EXPECT_EQ(config_.read<uint8_t>(kPlace, kLock), 0x03);
  alarm_.run_for(seconds(2));
  EXPECT_EQ(ends_, 1);
}

TEST_F(I6300EsbTest, WithItsOutputOffOnlyTheMarkTells) {
  start(1);
  config_.write<uint16_t>(kPlace, kConfig, 0x0023);
  alarm_.run_for(seconds(2));
  EXPECT_EQ(ends_, 0);
  EXPECT_TRUE(has_run_out());
}

TEST_F(I6300EsbTest, InFreeRunningModeNothingRunsOutAndNoAlarmRuns) {
  set_preload(kPreload1, 0);
  set_preload(kPreload2, 0);
  config_.write<uint8_t>(kPlace, kLock, 0x06);
  EXPECT_FALSE(alarm_.is_armed());
  alarm_.run_for(seconds(10));
  EXPECT_EQ(ends_, 0);
}

TEST_F(I6300EsbTest, TheMarkStaysOverAResetUntilTheDriverClearsIt) {
  start(1);
  alarm_.run_for(seconds(2));
  bus_.reset();
  EXPECT_TRUE(has_run_out());
  unlock();
  out<uint16_t>(registers(), kReload, 0x0200);
  EXPECT_FALSE(has_run_out());
}

TEST_F(I6300EsbTest, AResetStopsItAndOpensItsLock) {
  start(1);
  config_.write<uint8_t>(kPlace, kLock, 0x03);
  bus_.reset();
  alarm_.run_for(seconds(100));
  EXPECT_EQ(ends_, 0);
  EXPECT_EQ(config_.read<uint8_t>(kPlace, kLock), 0);
  EXPECT_EQ(in<uint32_t>(registers(), kPreload1), 0xf'ffffU);
}

TEST_F(I6300EsbTest, RegistersChangeOnceAfterEachUnlocking) {
  out<uint32_t>(registers(), kPreload1, 7);
  EXPECT_EQ(in<uint32_t>(registers(), kPreload1), 0xf'ffffU);
  set_preload(kPreload1, 0xfff0'0007);
  EXPECT_EQ(in<uint32_t>(registers(), kPreload1), 7U);
  out<uint32_t>(registers(), kPreload1, 8);
  EXPECT_EQ(in<uint32_t>(registers(), kPreload1), 7U);
}

TEST_F(I6300EsbTest, AnUnlockSequenceIsWholeOrNone) {
  for (const std::array<uint8_t, 3> sequence :
       {std::array<uint8_t, 3>{0x86, 0x80, 0x00}, {0x80, 0x85, 0x86}, {0x80, 0x86, 0x00}}) {
    for (const uint8_t value : sequence) {
      out<uint8_t>(registers(), kReload, value);
    }
    out<uint32_t>(registers(), kPreload2, 1);
    EXPECT_EQ(in<uint32_t>(registers(), kPreload2), 0xf'ffffU);
  }
}

TEST_F(I6300EsbTest, ReadsPastItsRegistersAreZero) {
  EXPECT_EQ(in<uint64_t>(registers(), 0xc), 0U);
  EXPECT_EQ(in<uint32_t>(registers(), 0x8), 0U);
}

// Whatever a driver writes, the alarm is asked for by what it writes only: it never goes off by itself.
TEST_F(I6300EsbTest, RandomWritesNeitherCrashNorMakeTheAlarmGoOnByItself) {
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    const auto value = static_cast<uint32_t>(random());
    switch (random() % 6) {
      case 0:
        unlock();
        break;
      case 1:
        out<uint32_t>(registers(), random() % 16, random() % 2 == 0 ? 0 : value);
        break;
      case 2:
        out<uint8_t>(registers(), random() % 16, static_cast<uint8_t>(value));
        break;
      case 3:
        config_.write<uint16_t>(kPlace, kConfig, static_cast<uint16_t>(value));
        break;
      case 4:
        config_.write<uint8_t>(kPlace, kLock, static_cast<uint8_t>(value & 0x06));
        break;
      default:
        EXPECT_LE(alarm_.run_for(milliseconds(value % 1000)), 2);
    }
  }
}

}  // namespace
}  // namespace vmm::pci
