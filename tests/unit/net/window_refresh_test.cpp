// Windows that are said to be a byte smaller from time to time.
#include "vmm/net/window_refresh.h"

#include <gtest/gtest.h>

#include "tests/unit/net/frames.h"

namespace vmm::net {
namespace {

constexpr uint32_t kPeriod = uint32_t{1} << 28U;

uint16_t window_behind(const IpEnds& ends, const TcpSegment& segment) {
  Bytes frame = tcp_frame(ends, segment);
  refresh_window(frame, TcpFrame::parse(frame).value(), false);
  EXPECT_TRUE(has_right_checksum(frame));
  return parse_tcp(frame)->segment.window;
}

TEST(WindowRefreshes, ComeWithAFullWindowEvery256MiBOfEitherDirection) {
  for (const IpEnds& ends : {kEnds4, kEnds6}) {
    for (uint32_t period = 0; period < 16; ++period) {
      const uint32_t there = period * kPeriod + 3;
      constexpr uint32_t kElsewhere = kPeriod / 2;
      EXPECT_EQ(window_behind(ends, {.sequence = there, .ack = kElsewhere, .window = 1000}), 999);
      EXPECT_EQ(window_behind(ends, {.sequence = kElsewhere, .ack = there, .window = 1000}), 999);
      EXPECT_EQ(window_behind(ends, {.sequence = there - 4, .ack = kElsewhere, .window = 1000}), 1000);
      EXPECT_EQ(window_behind(ends, {.sequence = kElsewhere, .ack = there + 131'072, .window = 1000}), 1000);
      // Where one of both stays there, the other one makes the difference.
      EXPECT_EQ(window_behind(ends, {.sequence = there, .ack = there, .window = 1000}), 1000);
    }
  }
}

TEST(WindowRefreshes, AreOfPlainSegmentsWithAWindow) {
  const TcpSegment plain{
      .sequence = 0, .ack = kPeriod / 2, .flags = kTcpAck | kTcpPush, .payload = pattern(99)};
  EXPECT_EQ(window_behind(kEnds4, plain), 65534);
  for (const uint8_t flag : {kTcpSyn, kTcpFin, kTcpReset, kTcpUrgent}) {
    TcpSegment special = plain;
    special.flags |= flag;
    EXPECT_EQ(window_behind(kEnds4, special), 65535);
  }
  for (const uint16_t window : {uint16_t{0}, uint16_t{1}}) {
    TcpSegment closed = plain;
    closed.window = window;
    EXPECT_EQ(window_behind(kEnds4, closed), window);
  }
}

TEST(WindowRefreshes, LeaveASumThatIsStillToBeFilledIn) {
  const Bytes before = tcp_frame(kEnds4, {.sequence = 0, .ack = kPeriod / 2});
  Bytes frame = before;
  refresh_window(frame, TcpFrame::parse(frame).value(), true);
  EXPECT_EQ(load_be<uint16_t>(&frame[34 + kTcpWindowAt]), 65534);
  EXPECT_EQ(load_be<uint16_t>(&frame[34 + kTcpChecksumAt]), load_be<uint16_t>(&before[34 + kTcpChecksumAt]));
}

}  // namespace
}  // namespace vmm::net
