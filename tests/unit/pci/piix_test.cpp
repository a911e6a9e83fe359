#include <gtest/gtest.h>

#include <vector>

#include "devices/pci/pci_bus.h"
#include "devices/pci/piix3.h"
#include "devices/pci/piix4_pm.h"
#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/pci/test_function.h"

namespace vmm::pci {
namespace {

constexpr PciAddress kIsa{.slot = 1, .function = 0};
constexpr PciAddress kPm{.slot = 1, .function = 3};

class PirqRouting : public testing::Test {
 protected:
  static std::array<InterruptLine*, kIsaIrqCount> pointers(std::array<FakeLine, kIsaIrqCount>& lines) {
    std::array<InterruptLine*, kIsaIrqCount> result{};
    for (size_t i = 0; i < kIsaIrqCount; ++i) {
      result[i] = &lines[i];
    }
    return result;
  }
  PirqRouting() { EXPECT_TRUE(bus_.attach(kIsa, piix3_)); }

  IoBus ports_;
  IoBus memory_;
  PciBus bus_{ports_, memory_, nullptr};
  ConfigAccess config_{bus_};
  std::array<FakeLine, kIsaIrqCount> irqs_;
  Piix3 piix3_{pointers(irqs_)};
};

TEST_F(PirqRouting, IsPresetAsTheLayoutSays) {
  for (uint8_t i = 0; i < kPirqCount; ++i) {
    EXPECT_EQ(config_.read<uint8_t>(kIsa, static_cast<uint8_t>(0x60 + i)), layout::kPciIrqs[i]);
  }
  EXPECT_EQ(config_.read<uint8_t>(kIsa, kHeaderType), kHeaderMultiFunction);
}

TEST_F(PirqRouting, APinRaisesTheIrqOfItsPirq) {
  InterruptLine& pin = piix3_.intx(1, InterruptPin::kIntA);
  pin.set(true);
  EXPECT_TRUE(irqs_[layout::kPciIrqs[0]].level);
  pin.set(false);
  EXPECT_FALSE(irqs_[layout::kPciIrqs[0]].level);
}

TEST_F(PirqRouting, SharedWiresAreOredTogether) {
  InterruptLine& one = piix3_.intx(1, InterruptPin::kIntA);
  InterruptLine& same_pirq = piix3_.intx(5, InterruptPin::kIntA);
  InterruptLine& same_irq = piix3_.intx(3, InterruptPin::kIntA);
  one.set(true);
  same_pirq.set(true);
  same_irq.set(true);
  one.set(false);
  EXPECT_TRUE(irqs_[10].level);
  same_pirq.set(false);
  EXPECT_TRUE(irqs_[10].level);
  same_irq.set(false);
  EXPECT_FALSE(irqs_[10].level);
  EXPECT_EQ(irqs_[10].rises, 1);
}

TEST_F(PirqRouting, SettingALevelTwiceCountsOnce) {
  InterruptLine& pin = piix3_.intx(1, InterruptPin::kIntA);
  pin.set(true);
  pin.set(true);
  pin.set(false);
  EXPECT_FALSE(irqs_[10].level);
}

TEST_F(PirqRouting, TheGuestMovesAnAssertedPirqToAnotherIrq) {
  InterruptLine& pin = piix3_.intx(1, InterruptPin::kIntA);
  pin.set(true);
  config_.write<uint8_t>(kIsa, 0x60, 5);
  EXPECT_FALSE(irqs_[10].level);
  EXPECT_TRUE(irqs_[5].level);
  config_.write<uint8_t>(kIsa, 0x60, 0x80);
  EXPECT_FALSE(irqs_[5].level);
  bus_.reset();
  EXPECT_TRUE(irqs_[10].level);
}

class PowerManagement : public testing::Test {
 protected:
  PowerManagement() { EXPECT_TRUE(bus_.attach(kPm, pm_)); }

  IoBus ports_;
  IoBus memory_;
  PciBus bus_{ports_, memory_, nullptr};
  ConfigAccess config_{bus_};
  std::vector<std::optional<uint16_t>> changes_;
  Piix4Pm pm_{[this](std::optional<uint16_t> base) { changes_.push_back(base); }};
};

TEST_F(PowerManagement, IsPresetAndSaysNothing) {
  EXPECT_EQ(config_.read<uint32_t>(kPm, 0), 0x7113'8086U);
  EXPECT_EQ(config_.read<uint32_t>(kPm, 0x40), layout::kPmBase | 1U);
  EXPECT_EQ(pm_.base(), layout::kPmBase);
  EXPECT_TRUE(changes_.empty());
}

TEST_F(PowerManagement, TheBlockMovesWithPmbase) {
  config_.write<uint32_t>(kPm, 0x40, 0xb03f);
  EXPECT_EQ(changes_, (std::vector<std::optional<uint16_t>>{0xb000}));
  EXPECT_EQ(config_.read<uint32_t>(kPm, 0x40), 0xb001U);
}

TEST_F(PowerManagement, TheBlockIsSwitchedOffAndOn) {
  config_.write<uint8_t>(kPm, 0x80, 0);
  config_.write<uint8_t>(kPm, 0x80, 0);
  config_.write<uint8_t>(kPm, 0x80, 1);
  EXPECT_EQ(changes_, (std::vector<std::optional<uint16_t>>{std::nullopt, layout::kPmBase}));
}

TEST_F(PowerManagement, ResetBringsThePresetBack) {
  config_.write<uint32_t>(kPm, 0x40, 0xb000);
  bus_.reset();
  EXPECT_EQ(changes_, (std::vector<std::optional<uint16_t>>{0xb000, layout::kPmBase}));
}

TEST_F(PowerManagement, TheSciLineIsFixed) { EXPECT_EQ(config_.read<uint8_t>(kPm, 0x3c), layout::kSciIrq); }

}  // namespace
}  // namespace vmm::pci
