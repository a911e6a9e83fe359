// Reading TCP's frames, and cutting large ones.
#include "vmm/net/tcp_frame.h"

#include <gtest/gtest.h>

#include "tests/unit/net/frames.h"
#include "vmm/net/tcp_cutter.h"

namespace vmm::net {
namespace {

TEST(TcpFrames, SayWhereThePayloadIs) {
  const Bytes frame4 = tcp_frame(kEnds4, {.options = bytes_of({1, 1, 1, 1}), .payload = pattern(10)});
  const auto v4 = TcpFrame::parse(frame4);
  ASSERT_TRUE(v4);
  EXPECT_TRUE(v4->is_v4);
  EXPECT_EQ(v4->tcp_at, 34U);
  EXPECT_EQ(v4->payload_at, 58U);
  EXPECT_EQ(v4->payload_bytes(), 10U);
  const Bytes frame6 = tcp_frame(kEnds6, {.payload = pattern(10)});
  const auto v6 = TcpFrame::parse(frame6);
  ASSERT_TRUE(v6);
  EXPECT_FALSE(v6->is_v4);
  EXPECT_EQ(v6->tcp_at, 54U);
  EXPECT_EQ(v6->payload_at, 74U);
  EXPECT_EQ(v6->end, frame6.size());
}

TEST(TcpFrames, MayBePadded) {
  Bytes frame = tcp_frame(kEnds4, {});
  frame.resize(60);
  EXPECT_EQ(TcpFrame::parse(frame)->payload_bytes(), 0U);
  EXPECT_EQ(TcpFrame::parse(frame, TcpFrame::Length::kOfFrame)->payload_bytes(), 6U);
}

TEST(TcpFrames, ThatAreCutOffAreNone) {
  for (const IpEnds& ends : {kEnds4, kEnds6}) {
    const Bytes frame = tcp_frame(ends, {.options = bytes_of({1, 1, 1, 1}), .payload = pattern(3)});
    for (size_t length = 0; length < frame.size(); ++length) {
      EXPECT_FALSE(TcpFrame::parse(std::span(frame).first(length))) << length;
    }
    const size_t headers = TcpFrame::parse(frame)->payload_at;
    for (size_t length = 0; length < frame.size(); ++length) {
      EXPECT_EQ(TcpFrame::parse(std::span(frame).first(length), TcpFrame::Length::kOfFrame).has_value(),
                length >= headers);
    }
  }
}

TEST(TcpFrames, AreNotFragmentsNorOtherProtocols) {
  const auto changed = [](const IpEnds& ends, size_t at, int value) {
    Bytes frame = tcp_frame(ends, {.payload = pattern(100)});
    frame[at] = static_cast<std::byte>(value);
    return TcpFrame::parse(frame).has_value();
  };
  EXPECT_TRUE(changed(kEnds4, 14 + kIp4FragmentAt, 0x40));   // DF
  EXPECT_FALSE(changed(kEnds4, 14 + kIp4FragmentAt, 0x20));  // MF
  EXPECT_FALSE(changed(kEnds4, 14 + kIp4FragmentAt + 1, 1));
  EXPECT_FALSE(changed(kEnds4, 14 + 9, kIpUdp));
  EXPECT_FALSE(changed(kEnds4, 14, 0x44));
  EXPECT_FALSE(changed(kEnds4, 14, 0x65));
  EXPECT_FALSE(changed(kEnds4, 12, 0x81));
  EXPECT_FALSE(changed(kEnds4, 34 + 12, 0x40));
  EXPECT_FALSE(changed(kEnds6, 14 + 6, 0));  // hop-by-hop options
  EXPECT_FALSE(changed(kEnds6, 14, 0x40));
}

TEST(TcpCutting, MakesTheSegmentsThatOneWouldHaveSent) {
  for (const IpEnds& ends : {kEnds4, kEnds6}) {
    TcpSegment large{.from_port = 80,
                     .to_port = 4000,
                     .sequence = 0xffff'ff00,
                     .ack = 77,
                     .flags = kTcpAck | kTcpPush | kTcpFin | kTcpCwr | kTcpEcnEcho,
                     .window = 4321,
                     .options = bytes_of({1, 1, 1, 1}),
                     .payload = pattern(2500),
                     .id = 0xffff};
    const Bytes frame = tcp_frame(ends, large);
    TcpCutter cutter(frame, TcpFrame::parse(frame).value(), 1000);
    for (size_t i = 0; i < 3; ++i) {
      TcpSegment segment = large;
      segment.sequence += static_cast<uint32_t>(1000 * i);
      segment.id = static_cast<uint16_t>(large.id + i);
      segment.payload = pattern(i < 2 ? 1000 : 500, 1000 * i);
      segment.flags =
          static_cast<uint8_t>(large.flags & ~(i < 2 ? kTcpPush | kTcpFin : 0) & ~(i > 0 ? kTcpCwr : 0));
      const auto cut = cutter.next();
      EXPECT_EQ(Bytes(cut.begin(), cut.end()), tcp_frame(ends, segment)) << i;
    }
    EXPECT_TRUE(cutter.next().empty());
  }
}

TEST(TcpCutting, LeavesWhatIsShortAsItIs) {
  for (const size_t length : {0U, 1U, 999U, 1000U}) {
    const Bytes frame = tcp_frame(kEnds4, {.flags = kTcpAck | kTcpPush, .payload = pattern(length)});
    TcpCutter cutter(frame, TcpFrame::parse(frame).value(), 1000);
    const auto cut = cutter.next();
    EXPECT_EQ(Bytes(cut.begin(), cut.end()), frame);
    EXPECT_TRUE(cutter.next().empty());
  }
}

}  // namespace
}  // namespace vmm::net
