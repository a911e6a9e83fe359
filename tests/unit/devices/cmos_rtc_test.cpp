#include "devices/cmos_rtc.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/unit/fakes/fake_clock.h"
#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/fakes/port_access.h"

namespace vmm {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

// 2026-11-22 19:04:56 UTC, a Sunday.
constexpr seconds kStart(1'795'374'296);

class CmosRtcTest : public testing::Test {
 protected:
  uint8_t read(uint8_t index) {
    out8(*rtc_, 0, index);
    return in(*rtc_, 1);
  }
  void write(uint8_t index, uint8_t value) {
    out8(*rtc_, 0, index);
    out8(*rtc_, 1, value);
  }
  void expect_time(uint8_t hour, uint8_t minute, uint8_t second) {
    EXPECT_EQ(read(4), hour);
    EXPECT_EQ(read(2), minute);
    EXPECT_EQ(read(0), second);
  }
  void expect_date(uint8_t century, uint8_t year, uint8_t month, uint8_t day) {
    EXPECT_EQ(read(0x32), century);
    EXPECT_EQ(read(9), year);
    EXPECT_EQ(read(8), month);
    EXPECT_EQ(read(7), day);
  }

  FakeClock clock_{kStart};
  FakeAlarm alarm_{clock_};
  FakeLine line_;
  CmosContents contents_{.low_memory_bytes = 0xc000'0000ULL,
                         .high_memory_bytes = 5ULL << 30,
                         .cpu_count = 4,
                         .boot_order = {3, 2, 4},
                         .disk_translations = 0x44};
  std::unique_ptr<CmosRtc> rtc_ = std::make_unique<CmosRtc>(line_, clock_.function(), alarm_, contents_);
};

TEST_F(CmosRtcTest, ShowsTheClocksTimeInBcdAnd24Hours) {
  expect_time(0x19, 0x04, 0x56);
  expect_date(0x20, 0x26, 0x11, 0x22);
  EXPECT_EQ(read(6), 1);  // Sunday
  clock_.advance(hours(5));
  expect_time(0x00, 0x04, 0x56);
  expect_date(0x20, 0x26, 0x11, 0x23);
  EXPECT_EQ(read(6), 2);
}

TEST_F(CmosRtcTest, ShowsBinary) {
  write(0x0b, 0x06);
  expect_time(19, 4, 56);
  expect_date(20, 26, 11, 22);
}

TEST_F(CmosRtcTest, Shows12Hours) {
  write(0x0b, 0x00);
  EXPECT_EQ(read(4), 0x87);  // 7 PM
  clock_.advance(hours(5));
  EXPECT_EQ(read(4), 0x12);  // 12 AM
  clock_.advance(hours(12));
  EXPECT_EQ(read(4), 0x92);  // 12 PM
}

TEST_F(CmosRtcTest, PowerOnRegistersRunAt1024HzWithoutInterrupts) {
  EXPECT_EQ(read(0x0a), 0x26);
  EXPECT_EQ(read(0x0b), 0x02);
  EXPECT_EQ(read(0x0d), 0x80);
  EXPECT_FALSE(alarm_.is_armed());
}

TEST_F(CmosRtcTest, SetHoldsTheTimeWhileItIsWritten) {
  write(0x0b, 0x82);
  clock_.advance(seconds(10));
  expect_time(0x19, 0x04, 0x56);
  write(0x32, 0x19);
  write(0x09, 0x99);
  write(0x08, 0x12);
  write(0x07, 0x31);
  write(0x04, 0x23);
  write(0x02, 0x59);
  write(0x00, 0x59);
  expect_time(0x23, 0x59, 0x59);
  write(0x0b, 0x02);
  expect_time(0x23, 0x59, 0x59);
  clock_.advance(seconds(1));
  expect_time(0x00, 0x00, 0x00);
  expect_date(0x20, 0x00, 0x01, 0x01);
}

// What Linux does to set the clock: SET, divider reset, the bytes, and both back.
TEST_F(CmosRtcTest, AfterADividerResetTheFirstSecondLastsHalfASecond) {
  clock_.advance(milliseconds(123));
  write(0x0b, 0x82);
  write(0x0a, 0x76);
  write(0x04, 0x08);
  write(0x02, 0x00);
  write(0x00, 0x00);
  write(0x0b, 0x02);
  clock_.advance(seconds(3));
  expect_time(0x08, 0x00, 0x00);  // still held by the divider
  write(0x0a, 0x26);
  clock_.advance(milliseconds(499));
  expect_time(0x08, 0x00, 0x00);
  clock_.advance(milliseconds(1));
  expect_time(0x08, 0x00, 0x01);
}

TEST_F(CmosRtcTest, AByteWrittenWhileTheClockRunsTakesEffect) {
  write(0x04, 0x03);
  expect_time(0x03, 0x04, 0x56);
  clock_.advance(seconds(4));
  expect_time(0x03, 0x05, 0x00);
}

TEST_F(CmosRtcTest, NonsenseInTheTimeBytesGivesSomeTime) {
  for (const int mode : {0x80, 0x82, 0x84, 0x86}) {
    write(0x0b, static_cast<uint8_t>(mode));
    for (const int index : {0, 2, 4, 6, 7, 8, 9, 0x32}) {
      write(static_cast<uint8_t>(index), 0xff);
    }
    write(0x0b, static_cast<uint8_t>(mode & 0x7f));
    clock_.advance(seconds(1));
    EXPECT_GE(read(8), 1);
    EXPECT_GE(read(7), 1);
  }
}

TEST_F(CmosRtcTest, UpdateInProgressShowsOnlyAtTheEndOfASecond) {
  EXPECT_EQ(read(0x0a) & 0x80, 0);
  clock_.advance(microseconds(997'000));
  EXPECT_EQ(read(0x0a) & 0x80, 0);
  clock_.advance(microseconds(1'000));
  EXPECT_EQ(read(0x0a) & 0x80, 0x80);
  expect_time(0x19, 0x04, 0x56);
  clock_.advance(microseconds(2'000));
  EXPECT_EQ(read(0x0a) & 0x80, 0);
  expect_time(0x19, 0x04, 0x57);
}

TEST_F(CmosRtcTest, UpdateInProgressIsClearWhileTheTimeIsSet) {
  clock_.advance(microseconds(999'000));
  write(0x0b, 0x82);
  EXPECT_EQ(read(0x0a) & 0x80, 0);
}

// Interrupts.

TEST_F(CmosRtcTest, FlagsAreSetWithoutInterruptsAndClearedByReading) {
  clock_.advance(seconds(1));
  EXPECT_EQ(read(0x0c), 0x50);  // PF and UF, no IRQF
  EXPECT_EQ(read(0x0c), 0x00);
  EXPECT_EQ(line_.rises, 0);
  EXPECT_FALSE(alarm_.is_armed());
}

TEST_F(CmosRtcTest, UpdateInterruptComesEachSecondOnceItIsRead) {
  clock_.advance(milliseconds(300));
  write(0x0b, 0x12);
  EXPECT_EQ(alarm_.run_for(milliseconds(699)), 0);
  EXPECT_EQ(alarm_.run_for(milliseconds(1)), 1);
  EXPECT_TRUE(line_.level);
  EXPECT_FALSE(alarm_.is_armed());  // nothing more to tell before this one is read
  EXPECT_EQ(read(0x0c) & 0x90, 0x90);
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(alarm_.run_for(seconds(1)), 1);
  EXPECT_TRUE(line_.level);
}

TEST_F(CmosRtcTest, PeriodicInterruptHasTheSelectedRate) {
  constexpr std::pair<uint8_t, int> kRates[] = {{1, 256}, {2, 128}, {3, 8192}, {6, 1024}, {15, 2}};
  for (const auto& [select, rate] : kRates) {
    write(0x0a, static_cast<uint8_t>(0x20 | select));
    write(0x0b, 0x42);
    read(0x0c);
    int interrupts = 0;
    const auto end = clock_.now() + seconds(1);
    while (alarm_.is_armed() && clock_.now() < end && interrupts < 10'000) {
      alarm_.run_for(microseconds(10));
      if (line_.level) {
        EXPECT_EQ(read(0x0c) & 0xc0, 0xc0);
        ++interrupts;
      }
    }
    EXPECT_NEAR(interrupts, rate, 1) << int{select};
  }
}

TEST_F(CmosRtcTest, RateZeroIsNoPeriodicInterrupt) {
  write(0x0a, 0x20);
  write(0x0b, 0x42);
  EXPECT_FALSE(alarm_.is_armed());
}

TEST_F(CmosRtcTest, AlarmComesAtItsTime) {
  write(5, 0x19);
  write(3, 0x05);
  write(1, 0x10);
  write(0x0b, 0x22);
  alarm_.run_for(seconds(13));
  EXPECT_FALSE(line_.level);
  alarm_.run_for(seconds(1));
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(read(0x0c) & 0xa0, 0xa0);
  expect_time(0x19, 0x05, 0x10);
}

TEST_F(CmosRtcTest, AlarmsNextDayToo) {
  write(5, 0x19);
  write(3, 0x04);
  write(1, 0x55);
  write(0x0b, 0x22);
  alarm_.run_for(hours(24) - seconds(2));
  EXPECT_FALSE(line_.level);
  alarm_.run_for(seconds(1));
  EXPECT_TRUE(line_.level);
}

TEST_F(CmosRtcTest, AlarmBytesMayMatchAnything) {
  write(5, 0xc0);
  write(3, 0xff);
  write(1, 0x00);
  write(0x0b, 0x22);
  for (int minute = 0; minute < 3; ++minute) {
    alarm_.run_for(seconds(60));
    EXPECT_EQ(read(0x0c) & 0xa0, 0xa0);
  }
  EXPECT_EQ(line_.rises, 3);
}

TEST_F(CmosRtcTest, AlarmIn12HourMode) {
  write(0x0b, 0x00);
  write(5, 0x88);  // 8 PM
  write(3, 0x00);
  write(1, 0x00);
  write(0x0b, 0x20);
  alarm_.run_for(seconds(55 * 60 + 3));
  EXPECT_FALSE(line_.level);
  alarm_.run_for(seconds(1));
  EXPECT_TRUE(line_.level);
}

TEST_F(CmosRtcTest, AnAlarmThatIsNoTimeNeverComes) {
  write(5, 0x25);
  write(0x0b, 0x22);
  EXPECT_FALSE(alarm_.is_armed());
  write(5, 0x19);
  write(1, 0x7a);
  EXPECT_FALSE(alarm_.is_armed());
}

TEST_F(CmosRtcTest, SettingTheTimeIsNotAnUpdateOrAnAlarm) {
  write(5, 0x20);
  write(0x0b, 0x22);
  read(0x0c);
  write(0x04, 0x21);  // past the alarm
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(read(0x0c), 0);
}

TEST_F(CmosRtcTest, SetClearsTheUpdateInterruptEnable) {
  write(0x0b, 0x92);
  EXPECT_EQ(read(0x0b), 0x82);
}

TEST_F(CmosRtcTest, ADistantAlarmSurvivesAChangeOfTheHostsClock) {
  write(5, 0x23);
  write(3, 0x00);
  write(1, 0x00);
  write(0x0b, 0x22);
  clock_.advance(hours(4));  // the host's clock jumps while the alarm waits
  EXPECT_GE(alarm_.run_for(seconds(60)), 1);
  EXPECT_TRUE(line_.level);
}

// Memory.

TEST_F(CmosRtcTest, TellsFirmwareAboutMemoryCpusAndBootOrder) {
  EXPECT_EQ(read(0x15) | read(0x16) << 8, 640);
  EXPECT_EQ(read(0x17) | read(0x18) << 8, 0xffff);
  EXPECT_EQ(read(0x30) | read(0x31) << 8, 0xffff);
  EXPECT_EQ(read(0x34) | read(0x35) << 8, 0xc000 - 0x100);
  EXPECT_EQ(read(0x5b) | read(0x5c) << 8 | read(0x5d) << 16, 5 << 14);
  EXPECT_EQ(read(0x5f), 3);
  EXPECT_EQ(read(0x3d), 0x23);
  EXPECT_EQ(read(0x38), 0x40);
  EXPECT_EQ(read(0x39), 0x44);
}

TEST_F(CmosRtcTest, SmallMemoriesDoNotWrapAround) {
  contents_.low_memory_bytes = 8 << 20;
  FakeAlarm alarm(clock_);
  CmosRtc small(line_, clock_.function(), alarm, contents_);
  out8(small, 0, 0x17);
  EXPECT_EQ(in(small, 1), (7 * 1024) & 0xff);
  out8(small, 0, 0x34);
  EXPECT_EQ(in(small, 1), 0);
}

TEST_F(CmosRtcTest, ChecksumCoversTheConfigurationBytes) {
  unsigned sum = 0;
  for (uint8_t i = 0x10; i <= 0x2d; ++i) {
    sum += read(i);
  }
  EXPECT_EQ(read(0x2e) << 8 | read(0x2f), sum);
}

TEST_F(CmosRtcTest, OtherBytesAreMemory) {
  write(0x40, 0x5a);
  write(0x7f, 0xa5);
  EXPECT_EQ(read(0x40), 0x5a);
  EXPECT_EQ(read(0x7f), 0xa5);
}

TEST_F(CmosRtcTest, TheIndexHasTheNmiMaskInItsTopBit) {
  EXPECT_FALSE(rtc_->is_nmi_masked());
  EXPECT_EQ(read(0x8d), 0x80);
  EXPECT_TRUE(rtc_->is_nmi_masked());
  read(0x0d);
  EXPECT_FALSE(rtc_->is_nmi_masked());
}

TEST_F(CmosRtcTest, AWordWriteIsIndexAndData) {
  out<uint16_t>(*rtc_, 0, 0x5a40);
  EXPECT_EQ(in<uint16_t>(*rtc_, 0), 0x5aff);
}

TEST_F(CmosRtcTest, ResetStopsInterruptsAndKeepsTimeAndMemory) {
  write(0x40, 0x5a);
  write(0x0f, 0x0a);
  write(0x04, 0x03);
  write(0x0b, 0x12);
  alarm_.run_for(seconds(2));
  ASSERT_TRUE(line_.level);
  rtc_->reset();
  EXPECT_FALSE(line_.level);
  EXPECT_FALSE(alarm_.is_armed());
  EXPECT_EQ(read(0x0b), 0x02);
  EXPECT_EQ(read(0x0c), 0);
  EXPECT_EQ(read(0x40), 0x5a);
  EXPECT_EQ(read(0x0f), 0);
  expect_time(0x03, 0x04, 0x58);
}

TEST_F(CmosRtcTest, ResetStartsAClockThatWasHeld) {
  write(0x0b, 0x06);
  write(0x0b, 0x86);  // the bytes stay binary
  write(0x04, 7);
  rtc_->reset();
  expect_time(0x07, 0x04, 0x56);
}

}  // namespace
}  // namespace vmm
