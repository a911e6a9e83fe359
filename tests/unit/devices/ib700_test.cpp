#include "devices/ib700.h"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_clock.h"
#include "tests/unit/fakes/port_access.h"

namespace vmm {
namespace {

using std::chrono::seconds;

class Ib700Test : public ::testing::Test {
 protected:
  // How long after this write the watchdog ends; at most a minute.
  seconds time_after(uint8_t value) {
    out8(watchdog_.start_port(), 0, value);
    for (seconds time(0); time <= seconds(60); time += seconds(1)) {
      alarm_.run_for(time == seconds(0) ? seconds(0) : seconds(1));
      if (ends_ > 0) {
        ends_ = 0;
        return time;
      }
    }
    return seconds(1000);
  }

  FakeClock clock_;
  FakeAlarm alarm_{clock_};
  int ends_ = 0;
  Ib700 watchdog_{clock_.function(), alarm_, [this] { ++ends_; }};
};

TEST_F(Ib700Test, TheValueSaysHowLongItWaits) {
  for (uint8_t value = 0; value < 16; ++value) {
    EXPECT_EQ(time_after(value), seconds(30 - 2 * value)) << unsigned{value};
  }
}

TEST_F(Ib700Test, TheUpperHalfOfTheValueSaysNothing) { EXPECT_EQ(time_after(0xfe), seconds(2)); }

TEST_F(Ib700Test, DoesNothingUntilItIsStarted) {
  out8(watchdog_.stop_port(), 0, 0);
  alarm_.run_for(seconds(1000));
  EXPECT_EQ(ends_, 0);
  EXPECT_FALSE(alarm_.is_armed());
}

TEST_F(Ib700Test, EachWriteBeginsAnew) {
  for (int i = 0; i < 100; ++i) {
    out8(watchdog_.start_port(), 0, 0);
    alarm_.run_for(seconds(29));
  }
  EXPECT_EQ(ends_, 0);
  alarm_.run_for(seconds(1));
  EXPECT_EQ(ends_, 1);
}

TEST_F(Ib700Test, IsStoppedByTheOtherPortAndByAReset) {
  out8(watchdog_.start_port(), 0, 0);
  out8(watchdog_.stop_port(), 0, 0xff);
  alarm_.run_for(seconds(100));
  out8(watchdog_.start_port(), 0, 0);
  watchdog_.reset();
  alarm_.run_for(seconds(100));
  EXPECT_EQ(ends_, 0);
}

TEST_F(Ib700Test, ReadsAsNothing) {
  EXPECT_EQ(in(watchdog_.start_port(), 0), 0xff);
  EXPECT_EQ(in<uint32_t>(watchdog_.stop_port(), 0), 0xffff'ffffU);
}

TEST_F(Ib700Test, OfAWiderAccessTheFirstByteIsForIt) {
  out<uint32_t>(watchdog_.start_port(), 0, 0x0000'000e);
  alarm_.run_for(seconds(2));
  EXPECT_EQ(ends_, 1);
}

}  // namespace
}  // namespace vmm
