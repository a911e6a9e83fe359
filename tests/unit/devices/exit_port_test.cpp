#include "devices/exit_port.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/fakes/port_access.h"

namespace vmm {
namespace {

TEST(ExitPort, TellsTheByteThatIsWrittenFirst) {
  std::vector<int> told;
  ExitPort port([&told](uint8_t status) { told.push_back(status); });
  out8(port, 0, 7);
  out8(port, 0, 0);
  EXPECT_EQ(told, std::vector<int>{7});
}

TEST(ExitPort, TellsEveryByte) {
  for (int status = 0; status <= 255; ++status) {
    int told = -1;
    ExitPort port([&told](uint8_t value) { told = value; });
    out8(port, 0, static_cast<uint8_t>(status));
    EXPECT_EQ(told, status);
  }
}

TEST(ExitPort, ReadingShowsThatItIsThereAndEndsNothing) {
  ExitPort port([](uint8_t /*status*/) { FAIL(); });
  EXPECT_EQ(in(port, 0), ExitPort::kPresent);
}

TEST(ExitPort, AMachineThatStartsAgainMayEndAgain) {
  std::vector<int> told;
  ExitPort port([&told](uint8_t status) { told.push_back(status); });
  out8(port, 0, 1);
  port.reset();
  out8(port, 0, 2);
  EXPECT_EQ(told, (std::vector<int>{1, 2}));
}

}  // namespace
}  // namespace vmm
