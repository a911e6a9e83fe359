#include "devices/i8042.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/fakes/port_access.h"

namespace vmm {
namespace {

class I8042Test : public testing::Test {
 protected:
  uint8_t status() { return in(controller_.command_port(), 0); }
  bool has_data() { return (status() & 0x01) != 0; }
  uint8_t data() { return in(controller_.data_port(), 0); }
  void command(uint8_t value) { out8(controller_.command_port(), 0, value); }
  void send(uint8_t value) { out8(controller_.data_port(), 0, value); }

  // Everything that waits.
  std::vector<int> drain() {
    std::vector<int> bytes;
    while (has_data() && bytes.size() < 100) {
      bytes.push_back(data());
    }
    return bytes;
  }

  FakeLine line_;
  int resets_ = 0;
  I8042 controller_{line_, [this] { ++resets_; }};
};

using Bytes = std::vector<int>;

TEST_F(I8042Test, StartsWithSystemFlagSetUnlockedAndEmpty) { EXPECT_EQ(status(), 0x14); }

TEST_F(I8042Test, StatusTellsWhetherTheLastWriteWasACommand) {
  command(0xae);
  EXPECT_EQ(status() & 0x08, 0x08);
  send(0xee);
  EXPECT_EQ(status() & 0x08, 0);
}

TEST_F(I8042Test, SelfTestsPass) {
  command(0xaa);
  EXPECT_EQ(drain(), Bytes{0x55});
  command(0xab);
  EXPECT_EQ(drain(), Bytes{0x00});
}

TEST_F(I8042Test, TheCommandByteIsReadAndWritten) {
  command(0x20);
  EXPECT_EQ(drain(), Bytes{0x65});
  command(0x60);
  send(0x74);
  command(0x20);
  EXPECT_EQ(drain(), Bytes{0x74});
}

TEST_F(I8042Test, OtherRamBytesAreKept) {
  command(0x65);
  send(0x5a);
  command(0x25);
  EXPECT_EQ(drain(), Bytes{0x5a});
}

TEST_F(I8042Test, PulsingTheResetLineResets) {
  command(0xff);
  EXPECT_EQ(resets_, 0);
  command(0xfe);
  EXPECT_EQ(resets_, 1);
}

TEST_F(I8042Test, ClearingTheResetBitOfTheOutputPortResets) {
  command(0xd1);
  send(0xdf);
  EXPECT_EQ(resets_, 0);
  command(0xd0);
  EXPECT_EQ(drain(), Bytes{0xcf});
  command(0xd1);
  send(0xfe);
  EXPECT_EQ(resets_, 1);
}

TEST_F(I8042Test, AuxiliaryDeviceIsAbsentAndSaysSoAtOnce) {
  command(0xd3);
  send(0x5a);
  EXPECT_EQ(status() & 0x21, 0x01);  // it comes back, but not as an auxiliary byte
  EXPECT_EQ(data(), 0x5a);
  command(0xa9);
  EXPECT_EQ(drain(), Bytes{0x01});
  command(0xd4);
  send(0xff);
  EXPECT_FALSE(has_data());
}

TEST_F(I8042Test, TheKeyboardAnswersResetAndIdentify) {
  send(0xff);
  EXPECT_EQ(drain(), (Bytes{0xfa, 0xaa}));
  send(0xf2);
  EXPECT_EQ(drain(), (Bytes{0xfa, 0xab, 0x41}));
}

TEST_F(I8042Test, WithoutTranslationTheKeyboardsIdentityIsItsOwn) {
  command(0x60);
  send(0x05);
  send(0xf2);
  EXPECT_EQ(drain(), (Bytes{0xfa, 0xab, 0x83}));
  send(0xf0);
  send(0x00);
  EXPECT_EQ(drain(), (Bytes{0xfa, 0xfa, 0x02}));
}

TEST_F(I8042Test, TheKeyboardTakesLedsRateAndScanCodeSet) {
  for (const int keyboard_command : {0xed, 0xf3, 0xf0}) {
    send(static_cast<uint8_t>(keyboard_command));
    EXPECT_EQ(drain(), Bytes{0xfa});
    send(0x02);
    EXPECT_EQ(drain(), Bytes{0xfa});
  }
  send(0xf0);
  send(0x00);
  EXPECT_EQ(drain(), (Bytes{0xfa, 0xfa, 0x41}));
  send(0xf0);
  send(0x09);
  EXPECT_EQ(drain(), (Bytes{0xfa, 0xfe}));
}

TEST_F(I8042Test, EchoResendAndUnknownCommands) {
  send(0xee);
  EXPECT_EQ(drain(), Bytes{0xee});
  send(0xfe);
  EXPECT_EQ(drain(), Bytes{0xee});
  send(0x01);
  EXPECT_EQ(drain(), Bytes{0xfe});
}

TEST_F(I8042Test, EachByteIsAnEdgeOfTheInterrupt) {
  send(0xf2);
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(line_.rises, 1);
  data();
  EXPECT_EQ(line_.rises, 2);
  data();
  EXPECT_EQ(line_.rises, 3);
  data();
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(line_.rises, 3);
}

TEST_F(I8042Test, WithoutItsInterruptEnabledTheLineStaysLow) {
  command(0x60);
  send(0x44);
  send(0xee);
  EXPECT_TRUE(has_data());
  EXPECT_FALSE(line_.level);
  command(0x60);
  send(0x45);
  EXPECT_TRUE(line_.level);
}

TEST_F(I8042Test, ADisabledKeyboardKeepsItsBytes) {
  command(0xad);
  EXPECT_TRUE(controller_.press_keys(std::array<uint8_t, 1>{0x1e}));
  EXPECT_FALSE(has_data());
  command(0x20);  // the controller's own answers pass
  EXPECT_EQ(drain(), Bytes{0x75});
  command(0xae);
  EXPECT_EQ(drain(), Bytes{0x1e});
}

TEST_F(I8042Test, KeysReachTheGuestUnlessScanningIsOff) {
  EXPECT_TRUE(controller_.press_keys(std::array<uint8_t, 2>{0x1e, 0x9e}));
  EXPECT_EQ(drain(), (Bytes{0x1e, 0x9e}));
  send(0xf5);
  EXPECT_EQ(drain(), Bytes{0xfa});
  EXPECT_FALSE(controller_.press_keys(std::array<uint8_t, 1>{0x1e}));
  send(0xf4);
  EXPECT_EQ(drain(), Bytes{0xfa});
  EXPECT_TRUE(controller_.press_keys(std::array<uint8_t, 1>{0x1e}));
}

TEST_F(I8042Test, KeysThatDoNotFitAreRefusedWhole) {
  const std::array<uint8_t, 20> keys{};
  EXPECT_FALSE(controller_.press_keys(keys));
  EXPECT_FALSE(has_data());
}

TEST_F(I8042Test, AFloodOfCommandsIsBounded) {
  for (int i = 0; i < 1000; ++i) {
    send(0xf2);
    command(0x20);
  }
  EXPECT_LE(drain().size(), 33U);
}

TEST_F(I8042Test, ANewCommandForgetsTheOneThatWaited) {
  command(0x60);
  command(0xaa);
  EXPECT_EQ(drain(), Bytes{0x55});
  send(0xee);
  EXPECT_EQ(drain(), Bytes{0xee});
}

TEST_F(I8042Test, ResetGivesThePowerOnState) {
  send(0xf2);
  command(0x60);
  controller_.reset();
  EXPECT_FALSE(line_.level);
  EXPECT_EQ(status(), 0x14);
  send(0xee);
  EXPECT_EQ(drain(), Bytes{0xee});
}

}  // namespace
}  // namespace vmm
