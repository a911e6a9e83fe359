#include "devices/pv_panic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/fakes/port_access.h"

namespace vmm {
namespace {

using ::testing::ElementsAre;

struct PanicRig {
  std::vector<std::string> events;
  PvPanic device{{.panicked = [this] { events.emplace_back("panicked"); },
                  .crash_loaded = [this] { events.emplace_back("crash loaded"); }}};
};

TEST(PvPanicTest, ShowsTheEventsThatItKnows) {
  PanicRig rig;
  EXPECT_EQ(in(rig.device, 0), 0x03);
}

TEST(PvPanicTest, TellsWhatTheGuestTells) {
  PanicRig rig;
  out8(rig.device, 0, 0x02);
  out8(rig.device, 0, 0x01);
  EXPECT_THAT(rig.events, ElementsAre("crash loaded", "panicked"));
}

TEST(PvPanicTest, UnknownBitsAreIgnored) {
  PanicRig rig;
  out8(rig.device, 0, 0x00);
  out8(rig.device, 0, 0xfc);
  EXPECT_TRUE(rig.events.empty());
  out8(rig.device, 0, 0xff);
  EXPECT_THAT(rig.events, ElementsAre("panicked"));
}

}  // namespace
}  // namespace vmm
