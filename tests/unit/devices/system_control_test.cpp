#include "devices/system_control.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/fakes/fake_clock.h"
#include "tests/unit/fakes/port_access.h"

namespace vmm {
namespace {

TEST(ResetPort, ResetsWhenTheCpuBitRises) {
  int resets = 0;
  ResetPort port([&resets] { ++resets; });
  out8(port, 0, 0x02);
  EXPECT_EQ(resets, 0);
  out8(port, 0, 0x06);
  EXPECT_EQ(resets, 1);
  out8(port, 0, 0x06);
  EXPECT_EQ(resets, 1);
  out8(port, 0, 0x00);
  out8(port, 0, 0x04);
  EXPECT_EQ(resets, 2);
}

TEST(ResetPort, ReadsWhatWasWrittenUntilItIsReset) {
  ResetPort port([] {});
  out8(port, 0, 0x02);
  EXPECT_EQ(in(port, 0), 0x02);
  port.reset();
  EXPECT_EQ(in(port, 0), 0x00);
}

TEST(ResetPort, MayBeResetByItsOwnCallback) {
  ResetPort* self = nullptr;
  ResetPort port([&self] { self->reset(); });
  self = &port;
  out8(port, 0, 0x06);
  EXPECT_EQ(in(port, 0), 0);
}

TEST(SystemControlA, KeepsA20AndResetsWhenItsLowestBitRises) {
  int resets = 0;
  SystemControlA port([&resets] { ++resets; });
  EXPECT_EQ(in(port, 0), 0x02);
  out8(port, 0, 0x00);
  EXPECT_EQ(in(port, 0), 0x00);
  EXPECT_EQ(resets, 0);
  out8(port, 0, 0x03);
  out8(port, 0, 0x03);
  EXPECT_EQ(resets, 1);
  port.reset();
  EXPECT_EQ(in(port, 0), 0x02);
}

TEST(PostCode, KeepsTheLastCode) {
  PostCode port;
  out8(port, 0, 0x11);
  out8(port, 0, 0x22);
  EXPECT_EQ(port.last_code(), 0x22);
  EXPECT_EQ(in(port, 0), 0x22);
  port.reset();
  EXPECT_EQ(port.last_code(), 0);
}

class DebugPortTest : public testing::Test {
 protected:
  void print(std::string_view text) {
    for (const char c : text) {
      out8(port_, 0, static_cast<uint8_t>(c));
    }
  }

  FakeClock clock_{std::chrono::seconds(100)};
  std::vector<std::string> lines_;
  DebugPort port_{clock_.function(), [this](std::string_view line) { lines_.emplace_back(line); }};
};

TEST_F(DebugPortTest, ShowsThatItIsThere) { EXPECT_EQ(in(port_, 0), 0xe9); }

TEST_F(DebugPortTest, GivesOutWholeLinesWithoutEmptyOnes) {
  print("SeaBIOS (version 1.16)\r\n\nBUILD");
  EXPECT_EQ(lines_, std::vector<std::string>{"SeaBIOS (version 1.16)"});
}

TEST_F(DebugPortTest, BreaksLinesThatAreTooLong) {
  print(std::string(DebugPort::kMaxLineBytes * 2 + 5, 'x'));
  ASSERT_EQ(lines_.size(), 2U);
  EXPECT_EQ(lines_[0].size(), DebugPort::kMaxLineBytes);
}

TEST_F(DebugPortTest, ReplacesWhatATerminalCouldTakeForACommand) {
  print("\x1b[2J\xff\n");
  EXPECT_EQ(lines_, std::vector<std::string>{".[2J."});
}

TEST_F(DebugPortTest, LimitsLinesPerSecondAndCountsTheRest) {
  for (unsigned i = 0; i < DebugPort::kMaxLinesPerSecond + 7; ++i) {
    print("x\n");
  }
  EXPECT_EQ(lines_.size(), DebugPort::kMaxLinesPerSecond);
  clock_.advance(std::chrono::seconds(1));
  print("y\n");
  EXPECT_EQ(lines_.back(), "(7 lines dropped) y");
}

TEST_F(DebugPortTest, ResetForgetsAHalfLine) {
  print("half");
  port_.reset();
  print("whole\n");
  EXPECT_EQ(lines_, std::vector<std::string>{"whole"});
}

}  // namespace
}  // namespace vmm
