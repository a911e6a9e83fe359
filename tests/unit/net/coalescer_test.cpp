// Segments of TCP that become one packet, and those that must not.
#include "vmm/net/coalescer.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/net/frames.h"
#include "vmm/net/checksum.h"
#include "vmm/net/tcp_cutter.h"

namespace vmm::net {
namespace {

constexpr PacketOffloads kAll{.checksum = true, .tcp4 = true, .tcp6 = true};

struct Packet {
  PacketHeader header;
  Bytes frame;
};

class Coalescing : public testing::Test {
 protected:
  Coalescing() { coalescer_.set_use(kAll); }

  std::vector<Packet> take_all() {
    coalescer_.complete();
    std::vector<Packet> packets;
    Bytes room(kMaxPacketBytes);
    const iovec buffer{.iov_base = room.data(), .iov_len = room.size()};
    for (size_t count = queue_.receive({&buffer, 1}); count > 0; count = queue_.receive({&buffer, 1})) {
      PacketHeaderBytes header{};
      std::copy_n(room.begin(), header.size(), header.begin());
      packets.push_back(
          {.header = PacketHeader::parse(header),
           .frame = Bytes(room.begin() + kPacketHeaderBytes, room.begin() + static_cast<ptrdiff_t>(count))});
    }
    return packets;
  }
  // How many packets the frames become.
  size_t packets_of(const std::vector<Bytes>& frames) {
    for (const Bytes& frame : frames) {
      EXPECT_TRUE(coalescer_.add(frame));
    }
    return take_all().size();
  }
  static TcpSegment segment(size_t from, size_t length) {
    return {.from_port = 80,
            .to_port = 4000,
            .sequence = static_cast<uint32_t>(0xffff'fc00 + from),
            .ack = 5,
            .payload = pattern(length, from),
            .id = static_cast<uint16_t>(0xfffe + from / 1000)};
  }
  // Two that would be one, but for a change of the second.
  size_t packets_with(const std::function<void(TcpSegment&)>& change) {
    TcpSegment second = segment(1000, 1000);
    change(second);
    return packets_of({tcp_frame(kEnds4, segment(0, 1000)), tcp_frame(kEnds4, second)});
  }

  PacketQueue queue_{size_t{512} * 1024};
  Coalescer coalescer_{queue_};
};

// What the guest does, or who forwards for it.
std::vector<Bytes> cut(const Packet& packet) {
  if (packet.header.segments == PacketHeader::kNone) {
    return {packet.frame};
  }
  std::vector<Bytes> frames;
  TcpCutter cutter(packet.frame, TcpFrame::parse(packet.frame).value(), packet.header.segment_bytes);
  for (auto frame = cutter.next(); !frame.empty(); frame = cutter.next()) {
    frames.emplace_back(frame.begin(), frame.end());
  }
  return frames;
}

TEST_F(Coalescing, MakesOnePacketOfSegmentsThatFollowOneAnother) {
  for (const IpEnds& ends : {kEnds4, kEnds6}) {
    TcpSegment last = segment(2000, 300);
    last.flags = kTcpAck | kTcpPush;
    for (const TcpSegment& each : {segment(0, 1000), segment(1000, 1000), last}) {
      ASSERT_TRUE(coalescer_.add(tcp_frame(ends, each)));
    }
    const auto packets = take_all();
    ASSERT_EQ(packets.size(), 1U);
    const bool is_v4 = ends.from.is_v4();
    const size_t tcp_at = is_v4 ? 34 : 54;
    EXPECT_EQ(packets[0].header.flags, PacketHeader::kNeedsChecksum);
    EXPECT_EQ(packets[0].header.segments, is_v4 ? PacketHeader::kTcp4 : PacketHeader::kTcp6);
    EXPECT_EQ(packets[0].header.header_bytes, tcp_at + 20);
    EXPECT_EQ(packets[0].header.segment_bytes, 1000);
    EXPECT_EQ(packets[0].header.checksum_start, tcp_at);
    EXPECT_EQ(packets[0].header.checksum_offset, 16);
    const auto parsed = parse_tcp(packets[0].frame);  // IPv4's checksum, too
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->segment.payload, pattern(2300));
    EXPECT_EQ(parsed->segment.flags, kTcpAck | kTcpPush);
    // With the checksum filled in it is a whole one.
    Bytes whole = packets[0].frame;
    EXPECT_TRUE(complete_checksum(whole, tcp_at, 16));
    EXPECT_TRUE(has_right_checksum(whole));
  }
}

TEST_F(Coalescing, LeavesASegmentThatIsAloneAsItIs) {
  const Bytes frame = tcp_frame(kEnds4, segment(0, 1000));
  ASSERT_TRUE(coalescer_.add(frame));
  const auto packets = take_all();
  ASSERT_EQ(packets.size(), 1U);
  EXPECT_EQ(packets[0].frame, frame);
  EXPECT_EQ(packets[0].header.flags, PacketHeader::kChecksumIsValid);
  EXPECT_EQ(packets[0].header.segments, PacketHeader::kNone);
}

TEST_F(Coalescing, GoesOnNoFurtherThanIpPacketsMayBeLong) {
  std::vector<Bytes> frames;
  for (size_t i = 0; i < 66; ++i) {
    frames.push_back(tcp_frame(kEnds4, segment(1000 * i, 1000)));
    ASSERT_TRUE(coalescer_.add(frames.back()));
  }
  const auto packets = take_all();
  ASSERT_EQ(packets.size(), 2U);
  EXPECT_EQ(parse_tcp(packets[0].frame)->segment.payload.size(), 65'000U);
  EXPECT_EQ(parse_tcp(packets[1].frame)->segment.payload.size(), 1'000U);
}

TEST_F(Coalescing, EndsWithAShorterSegmentOrPush) {
  EXPECT_EQ(packets_of({tcp_frame(kEnds4, segment(0, 1000)), tcp_frame(kEnds4, segment(1000, 999)),
                        tcp_frame(kEnds4, segment(1999, 1000))}),
            2U);
  TcpSegment push = segment(1000, 1000);
  push.flags = kTcpAck | kTcpPush;
  EXPECT_EQ(packets_of({tcp_frame(kEnds4, segment(0, 1000)), tcp_frame(kEnds4, push),
                        tcp_frame(kEnds4, segment(2000, 1000))}),
            2U);
  push = segment(0, 1000);
  push.flags = kTcpAck | kTcpPush;
  EXPECT_EQ(packets_of({tcp_frame(kEnds4, push), tcp_frame(kEnds4, segment(1000, 1000))}), 2U);
}

TEST_F(Coalescing, IsOfOneConnectionInOrder) {
  EXPECT_EQ(packets_with([](TcpSegment&) {}), 1U);
  EXPECT_EQ(packets_with([](TcpSegment& second) { ++second.from_port; }), 2U);
  EXPECT_EQ(packets_with([](TcpSegment& second) { ++second.to_port; }), 2U);
  EXPECT_EQ(packets_with([](TcpSegment& second) { ++second.sequence; }), 2U);
  EXPECT_EQ(packets_with([](TcpSegment& second) { --second.sequence; }), 2U);
  EXPECT_EQ(packets_with([](TcpSegment& second) { ++second.ack; }), 2U);
  EXPECT_EQ(packets_with([](TcpSegment& second) { ++second.window; }), 2U);
  EXPECT_EQ(packets_with([](TcpSegment& second) { ++second.id; }), 2U);
  EXPECT_EQ(packets_with([](TcpSegment& second) { second.options = bytes_of({1, 1, 1, 1}); }), 2U);
  EXPECT_EQ(packets_with([](TcpSegment& second) { second.payload.push_back({}); }), 2U);
  EXPECT_EQ(packets_with([](TcpSegment& second) { second.payload.clear(); }), 2U);
  for (const uint8_t flag : {kTcpFin, kTcpSyn, kTcpReset, kTcpUrgent, kTcpEcnEcho, kTcpCwr}) {
    EXPECT_EQ(packets_with([&](TcpSegment& second) { second.flags |= flag; }), 2U) << int{flag};
  }
  IpEnds other = kEnds4;
  other.from = IpAddress::v4(10, 0, 2, 3);
  EXPECT_EQ(packets_of({tcp_frame(kEnds4, segment(0, 1000)), tcp_frame(other, segment(1000, 1000))}), 2U);
  EXPECT_EQ(packets_of({tcp_frame(kEnds4, segment(0, 1000)), tcp_frame(kEnds6, segment(1000, 1000))}), 2U);
  for (const size_t at : {0U, 15U, 20U, 22U}) {  // Ethernet's address, TOS, DF, TTL
    Bytes second = tcp_frame(kEnds4, segment(1000, 1000));
    second[at] ^= std::byte{0x40};
    set_lengths(second, TcpFrame::parse(second).value());
    complete_checksum(second, 34, 16);
    EXPECT_EQ(packets_of({tcp_frame(kEnds4, segment(0, 1000)), second}), 2U) << at;
  }
  // Between them: another packet.
  EXPECT_EQ(packets_of({tcp_frame(kEnds4, segment(0, 1000)), udp_frame(kEnds4, 1, 2, pattern(9)),
                        tcp_frame(kEnds4, segment(1000, 1000))}),
            3U);
  // Acknowledgements say how often they came.
  EXPECT_EQ(packets_of({tcp_frame(kEnds4, segment(0, 0)), tcp_frame(kEnds4, segment(0, 0))}), 2U);
}

TEST_F(Coalescing, IsForThoseWhoTakeSuchPackets) {
  const auto packets_for = [&](const PacketOffloads& gives, const IpEnds& ends) {
    coalescer_.set_use(gives);
    return packets_of({tcp_frame(ends, segment(0, 1000)), tcp_frame(ends, segment(1000, 1000))});
  };
  EXPECT_EQ(packets_for({}, kEnds4), 2U);
  EXPECT_EQ(packets_for({.checksum = true, .tcp6 = true}, kEnds4), 2U);
  EXPECT_EQ(packets_for({.checksum = true, .tcp4 = true}, kEnds4), 1U);
  EXPECT_EQ(packets_for({.checksum = true, .tcp4 = true}, kEnds6), 2U);
  EXPECT_EQ(packets_for({.checksum = true, .tcp6 = true}, kEnds6), 1U);
}

TEST_F(Coalescing, IsDoneWhenPacketsAreTaken) {
  EXPECT_TRUE(coalescer_.add(tcp_frame(kEnds4, segment(0, 1000))));
  EXPECT_EQ(take_all().size(), 1U);
  EXPECT_TRUE(coalescer_.add(tcp_frame(kEnds4, segment(1000, 1000))));
  EXPECT_EQ(take_all().size(), 1U);
}

TEST_F(Coalescing, WithoutRoomLosesWholeSegments) {
  size_t taken = 0;
  std::vector<Bytes> expected;
  for (size_t i = 0; i < 1000; ++i) {
    const Bytes frame = tcp_frame(kEnds4, segment(1000 * i, 1000));
    if (coalescer_.add(frame)) {
      expected.push_back(frame);
    }
  }
  EXPECT_LT(expected.size(), 600U);
  for (const Packet& packet : take_all()) {
    for (const Bytes& frame : cut(packet)) {
      ASSERT_LT(taken, expected.size());
      ASSERT_EQ(frame, expected[taken]);
      ++taken;
    }
  }
  EXPECT_EQ(taken, expected.size());
}

// Whatever comes: what is cut again is what came.
TEST_F(Coalescing, IsUndoneByCutting) {
  std::mt19937 random(5);
  const auto often = [&] { return random() % 16 != 0; };
  size_t packet_count = 0;
  size_t frame_count = 0;
  for (int round = 0; round < 300; ++round) {
    coalescer_.set_use({.checksum = often(), .tcp4 = often(), .tcp6 = often()});
    std::vector<Bytes> expected;
    TcpSegment next = segment(random(), 0);
    const size_t usual = 1 + random() % 1460;
    IpEnds ends = random() % 2 == 0 ? kEnds4 : kEnds6;
    for (size_t i = random() % 80; i > 0; --i) {
      next.payload = pattern(often() ? usual : random() % 1460, next.sequence);
      next.flags = static_cast<uint8_t>(often() ? uint32_t{kTcpAck} : random());
      next.ack += often() ? 0 : 1;
      next.window = static_cast<uint16_t>(next.window + (often() ? 0 : 1));
      next.options = often() ? next.options : Bytes(4 * (random() % 3), std::byte{1});
      ends = often() ? ends : (random() % 2 == 0 ? kEnds4 : kEnds6);
      Bytes frame = tcp_frame(ends, next);
      if (!often()) {  // padded or cut off
        frame.resize(std::max<size_t>(60, random() % (frame.size() + 8)));
      }
      expected.push_back(frame);
      ASSERT_TRUE(coalescer_.add(frame));
      next.sequence += static_cast<uint32_t>(often() ? next.payload.size() : random() % 3);
      next.id = static_cast<uint16_t>(next.id + (often() ? 1 : 0));
    }
    std::vector<Bytes> cut_again;
    for (const Packet& packet : take_all()) {
      ++packet_count;
      for (const Bytes& frame : cut(packet)) {
        cut_again.push_back(frame);
      }
    }
    frame_count += expected.size();
    ASSERT_EQ(cut_again.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(cut_again[i], expected[i]) << "round " << round << ", frame " << i;
    }
  }
  EXPECT_LT(packet_count, frame_count / 3 * 2);
}

}  // namespace
}  // namespace vmm::net
