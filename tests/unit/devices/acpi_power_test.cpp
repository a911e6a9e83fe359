#include "devices/acpi_power.h"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_clock.h"
#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/fakes/port_access.h"

namespace vmm {
namespace {

constexpr uint64_t kStatus = 0;
constexpr uint64_t kEnable = 2;
constexpr uint64_t kControl = 4;
constexpr uint64_t kTimer = 8;
constexpr uint16_t kPowerButton = 0x0100;
constexpr uint16_t kSleepNow = 0x2000;

class AcpiPowerTest : public testing::Test {
 protected:
  FakeClock clock_;
  FakeLine sci_;
  int power_offs_ = 0;
  AcpiPower power_{sci_, clock_.function(), AcpiPower::Settings{}, [this] { ++power_offs_; }};
  BusDevice& pm_ = power_.pm_block();
};

TEST_F(AcpiPowerTest, TheTimerCountsAt3579545Hz) {
  EXPECT_EQ(in<uint32_t>(pm_, kTimer), 0U);
  clock_.advance(std::chrono::seconds(1));
  EXPECT_EQ(in<uint32_t>(pm_, kTimer), 3'579'545U);
  clock_.advance(std::chrono::seconds(1200));
  EXPECT_EQ(in<uint32_t>(pm_, kTimer), static_cast<uint32_t>(1201ULL * 3'579'545));
}

TEST_F(AcpiPowerTest, TheTimerIsReadInPiecesToo) {
  clock_.advance(std::chrono::seconds(1));
  EXPECT_EQ(in<uint8_t>(pm_, kTimer), 3'579'545 & 0xff);
  EXPECT_EQ(in<uint16_t>(pm_, kTimer + 2), 3'579'545 >> 16);
  out<uint32_t>(pm_, kTimer, 0);
  EXPECT_EQ(in<uint32_t>(pm_, kTimer), 3'579'545U);
}

TEST_F(AcpiPowerTest, TheTimersTopBitSetsItsStatus) {
  EXPECT_EQ(in<uint16_t>(pm_, kStatus), 0);
  out<uint16_t>(pm_, kEnable, 0x0001);
  clock_.advance(std::chrono::seconds(600));  // 2^31 / 3579545 Hz = 599.9 s
  EXPECT_EQ(in<uint16_t>(pm_, kStatus), 0x0001);
  EXPECT_TRUE(sci_.level);
  out<uint16_t>(pm_, kStatus, 0x0001);
  EXPECT_FALSE(sci_.level);
  EXPECT_EQ(in<uint16_t>(pm_, kStatus), 0);
}

TEST_F(AcpiPowerTest, ThePowerButtonInterruptsWhereItIsEnabled) {
  out<uint16_t>(pm_, kEnable, kPowerButton);
  EXPECT_TRUE(power_.press_power_button());
  EXPECT_TRUE(sci_.level);
  EXPECT_EQ(in<uint16_t>(pm_, kStatus), kPowerButton);
}

TEST_F(AcpiPowerTest, ThePowerButtonIsToldToBeUnheardWhereItIsNotEnabled) {
  EXPECT_FALSE(power_.press_power_button());
  EXPECT_FALSE(sci_.level);
  out<uint16_t>(pm_, kEnable, kPowerButton);
  EXPECT_TRUE(sci_.level);  // the status was kept
}

TEST_F(AcpiPowerTest, WritingOnesClearsStatusBitsAndOnlyThose) {
  out<uint16_t>(pm_, kEnable, kPowerButton);
  power_.press_power_button();
  out<uint16_t>(pm_, kStatus, static_cast<uint16_t>(~kPowerButton));
  EXPECT_TRUE(sci_.level);
  out<uint8_t>(pm_, kStatus + 1, 0x01);
  EXPECT_FALSE(sci_.level);
  EXPECT_EQ(in<uint16_t>(pm_, kStatus), 0);
}

TEST_F(AcpiPowerTest, StatusAndEnableMayBeWrittenTogether) {
  out<uint32_t>(pm_, kStatus, uint32_t{kPowerButton} << 16 | 0xffff);
  EXPECT_EQ(in<uint32_t>(pm_, kStatus), uint32_t{kPowerButton} << 16);
}

TEST_F(AcpiPowerTest, WithoutSciEnableNothingInterrupts) {
  out<uint16_t>(pm_, kEnable, kPowerButton);
  out<uint16_t>(pm_, kControl, 0);
  EXPECT_FALSE(power_.press_power_button());
  EXPECT_FALSE(sci_.level);
}

TEST_F(AcpiPowerTest, SleepTypeFiveWithSleepEnablePowersOff) {
  out<uint16_t>(pm_, kControl, kSleepNow | 0x0001);
  EXPECT_EQ(power_offs_, 1);
  EXPECT_EQ(in<uint16_t>(pm_, kControl), 0x0001);  // SLP_EN reads as zero
}

TEST_F(AcpiPowerTest, SleepEnableInAByteWritePowersOffOnce) {
  out<uint8_t>(pm_, kControl + 1, kSleepNow >> 8);
  EXPECT_EQ(power_offs_, 1);
}

TEST_F(AcpiPowerTest, OtherSleepTypesDoNothing) {
  for (uint16_t type = 1; type < 8; ++type) {
    out<uint16_t>(pm_, kControl, static_cast<uint16_t>(kSleepNow | (type << 10) | 1));
  }
  EXPECT_EQ(power_offs_, 0);
  EXPECT_EQ(in<uint16_t>(pm_, kControl), 7 << 10 | 1);
}

TEST_F(AcpiPowerTest, TheRestOfTheBlockIsEmpty) {
  out<uint32_t>(pm_, 0x20, 0xffff'ffff);
  EXPECT_EQ(in<uint32_t>(pm_, 0x20), 0U);
  EXPECT_EQ(in<uint64_t>(pm_, 0x38), 0U);
}

TEST_F(AcpiPowerTest, GeneralPurposeEventsInterruptWhereEnabled) {
  BusDevice& gpe = power_.gpe0_block();
  power_.raise_gpe(9);
  EXPECT_FALSE(sci_.level);
  out<uint8_t>(gpe, 3, 0x02);
  EXPECT_TRUE(sci_.level);
  EXPECT_EQ(in<uint16_t>(gpe, 0), 0x0200);
  EXPECT_EQ(in<uint16_t>(gpe, 2), 0x0200);
  out<uint8_t>(gpe, 1, 0x02);
  EXPECT_FALSE(sci_.level);
  EXPECT_EQ(in<uint32_t>(gpe, 0), 0x0200'0000U);
}

TEST_F(AcpiPowerTest, TheSmiPortSwitchesAcpi) {
  BusDevice& smi = power_.smi_ports();
  out8(smi, 0, AcpiPower::kAcpiDisable);
  EXPECT_EQ(in<uint16_t>(pm_, kControl) & 1, 0);
  out8(smi, 0, AcpiPower::kAcpiEnable);
  EXPECT_EQ(in<uint16_t>(pm_, kControl) & 1, 1);
  out8(smi, 1, 0x5a);
  EXPECT_EQ(in(smi, 1), 0x5a);
  EXPECT_EQ(in(smi, 0), AcpiPower::kAcpiEnable);
}

TEST_F(AcpiPowerTest, ResetDropsTheInterruptAndItsCauses) {
  out<uint16_t>(pm_, kEnable, kPowerButton);
  power_.press_power_button();
  power_.reset();
  EXPECT_FALSE(sci_.level);
  EXPECT_EQ(in<uint32_t>(pm_, kStatus), 0U);
  EXPECT_EQ(in<uint16_t>(pm_, kControl), 0x0001);
}

TEST(AcpiPowerWithFirmware, StartsWithAcpiOff) {
  FakeClock clock;
  FakeLine sci;
  AcpiPower power(sci, clock.function(), {.is_enabled_at_reset = false}, [] {});
  EXPECT_EQ(in<uint16_t>(power.pm_block(), kControl), 0);
}

}  // namespace
}  // namespace vmm
