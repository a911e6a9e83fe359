// Networks behind a stream socket, with a peer that keeps to the protocol, and one that does not.
#include "vmm/net/stream_socket_end.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>

#include "tests/unit/block/disk_harness.h"
#include "tests/unit/net/fake_net_end.h"
#include "vmm/net/child_program.h"

namespace vmm::net {
namespace {

using block::Loop;
using Sent = NetEnd::Sent;

Bytes with_length(const Bytes& frame) {
  Bytes bytes;
  append_be<uint32_t>(bytes, static_cast<uint32_t>(frame.size()));
  bytes += frame;
  return bytes;
}
Bytes frame_with(size_t payload_bytes, size_t seed = 0) {
  return ethernet(kBroadcast, 0x88b5, pattern(payload_bytes, seed));
}

class StreamSockets : public testing::Test {
 protected:
  void SetUp() override {
    auto sockets = make_socket_pair();
    ASSERT_TRUE(sockets);
    peer_ = std::move(sockets->second);
    auto end = StreamSocketEnd::create(*loop_, std::move(sockets->first), "peer");
    ASSERT_TRUE(end);
    end_ = std::move(*end);
    device_ = std::make_unique<FakeNetReceiver>(*end_);
    end_->set_use(1, {});
    end_->want_packets(0, true);
  }
  void turn(int turns = 5) {
    for (int i = 0; i < turns; ++i) {
      loop_->run_once(std::chrono::nanoseconds(0));
    }
  }
  void say(const Bytes& bytes) {
    ASSERT_EQ(::send(peer_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // What the guest has sent, frame by frame.
  std::vector<Bytes> heard() {
    Bytes bytes(size_t{1} << 20U);
    const ssize_t count = ::recv(peer_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    stream_ += std::span(bytes).first(count > 0 ? static_cast<size_t>(count) : 0);
    std::vector<Bytes> frames;
    while (stream_.size() >= 4 && stream_.size() - 4 >= load_be<uint32_t>(stream_.data())) {
      const auto end = stream_.begin() + 4 + load_be<uint32_t>(stream_.data());
      frames.emplace_back(stream_.begin() + 4, end);
      stream_.erase(stream_.begin(), end);
    }
    return frames;
  }
  Sent send_with(const PacketHeader& header, Bytes frame) {
    const iovec buffer{.iov_base = frame.data(), .iov_len = frame.size()};
    return end_->send(0, header, {&buffer, 1}, frame.size());
  }

  Loop loop_;
  UniqueFd peer_;
  std::unique_ptr<StreamSocketEnd> end_;
  std::unique_ptr<FakeNetReceiver> device_;
  Bytes stream_;
};

TEST_F(StreamSockets, FramesPassBothWays) {
  EXPECT_EQ(device_->send(frame_with(100)), Sent::kDone);
  EXPECT_EQ(device_->send(frame_with(1)), Sent::kDone);
  EXPECT_EQ(heard(), (std::vector<Bytes>{frame_with(100), frame_with(1)}));
  say(with_length(frame_with(700)));
  turn();
  EXPECT_EQ(device_->received, std::vector<Bytes>{frame_with(700)});
}

TEST_F(StreamSockets, FramesComeInPieces) {
  Bytes bytes = with_length(frame_with(300));
  bytes += with_length(frame_with(40));
  for (const std::byte byte : bytes) {
    say({byte});
    turn(1);
  }
  turn();
  EXPECT_EQ(device_->received, (std::vector<Bytes>{frame_with(300), frame_with(40)}));
}

TEST_F(StreamSockets, TheLongestFrameComes) {
  const Bytes longest = frame_with(kMaxFrameBytes - kEthernetHeaderBytes);
  say(with_length(longest));
  turn();
  EXPECT_EQ(device_->received, std::vector<Bytes>{longest});
}

TEST_F(StreamSockets, FramesThatAreTooShortArePassedOver) {
  Bytes bytes = with_length({});
  bytes += with_length(pattern(13));
  bytes += with_length(frame_with(20));
  say(bytes);
  turn();
  EXPECT_EQ(device_->received, std::vector<Bytes>{frame_with(20)});
  EXPECT_TRUE(end_->is_open());
}

TEST_F(StreamSockets, AWrongLengthEndsIt) {
  Bytes bytes = with_length(frame_with(20));
  append_be<uint32_t>(bytes, kMaxFrameBytes + 1);
  bytes += pattern(100);
  say(bytes);
  turn();
  EXPECT_FALSE(end_->is_open());
  EXPECT_EQ(device_->received, std::vector<Bytes>{frame_with(20)});
  EXPECT_EQ(device_->send(frame_with(20)), Sent::kDropped);
}

TEST_F(StreamSockets, APeerThatClosesIsHeardToItsEnd) {
  Bytes bytes = with_length(frame_with(20));
  bytes += bytes_of({0, 0, 1});
  say(bytes);
  peer_.reset();
  turn();
  EXPECT_FALSE(end_->is_open());
  EXPECT_EQ(device_->received, std::vector<Bytes>{frame_with(20)});
  EXPECT_EQ(device_->send(frame_with(20)), Sent::kDropped);
  end_->set_use(0, {});
  end_->set_use(1, {});
  turn();
}

TEST_F(StreamSockets, WhoDoesNotReadIsWaitedFor) {
  size_t sent = 0;
  while (sent < 10'000 && device_->send(frame_with(1000, sent)) == Sent::kDone) {
    ++sent;
  }
  ASSERT_LT(sent, 10'000U);
  EXPECT_EQ(device_->room_calls, 0);
  std::vector<Bytes> got;
  for (int i = 0; i < 1000 && (got.size() < sent || device_->room_calls == 0); ++i) {
    std::ranges::move(heard(), std::back_inserter(got));
    turn(1);
  }
  ASSERT_EQ(got.size(), sent);
  for (size_t i = 0; i < sent; ++i) {
    ASSERT_EQ(got[i], frame_with(1000, i));
  }
  EXPECT_EQ(device_->room_calls, 1);
  EXPECT_EQ(device_->send(frame_with(5)), Sent::kDone);
}

TEST_F(StreamSockets, APeerThatClosesWhileItIsWaitedForSetsTheGuestFree) {
  while (device_->send(frame_with(1000)) == Sent::kDone) {
  }
  peer_.reset();
  turn();
  EXPECT_EQ(device_->room_calls, 1);
  EXPECT_EQ(device_->send(frame_with(20)), Sent::kDropped);
}

TEST_F(StreamSockets, AFloodIsNotReadWhileTheGuestIsBehind) {
  end_->want_packets(0, false);
  const Bytes frame = with_length(frame_with(1000));
  size_t said = 0;
  while (said < 10'000 && ::send(peer_.get(), frame.data(), frame.size(), MSG_DONTWAIT) > 0) {
    ++said;
    turn(1);
  }
  EXPECT_LT(said * frame.size(), StreamSocketEnd::kQueueBytes * 2) << "it waits in the socket";
  end_->want_packets(0, true);
  turn(1000);
  EXPECT_EQ(device_->received.size(), said) << "and none is lost";
}

TEST_F(StreamSockets, WhatComesWhileNobodyIsThereIsGone) {
  end_->set_use(0, {});
  say(with_length(frame_with(20)));
  turn();
  end_->set_use(1, {});
  turn();
  EXPECT_TRUE(device_->received.empty());
}

TEST_F(StreamSockets, ChecksumsAreFilledIn) {
  for (const IpEnds& ends : {kEnds4, kEnds6}) {
    const Bytes right = tcp_frame(ends, {.from_port = 1, .to_port = 2, .payload = pattern(333)});
    Bytes partial = right;
    const auto at = TcpFrame::parse(partial);
    ASSERT_TRUE(at);
    set_lengths(partial, *at);
    ASSERT_NE(partial, right);
    EXPECT_EQ(send_with({.flags = PacketHeader::kNeedsChecksum,
                         .checksum_start = static_cast<uint16_t>(at->tcp_at),
                         .checksum_offset = kTcpChecksumAt},
                        partial),
              Sent::kDone);
    EXPECT_EQ(heard(), std::vector<Bytes>{right});
  }
}

TEST_F(StreamSockets, LargePacketsGoAsOne) {
  for (const IpEnds& ends : {kEnds4, kEnds6}) {
    Bytes large = tcp_frame(ends, {.from_port = 1, .to_port = 2, .payload = pattern(60'000)});
    const PacketHeader header{.flags = PacketHeader::kNeedsChecksum,
                              .segments = ends.from.is_v4() ? PacketHeader::kTcp4 : PacketHeader::kTcp6,
                              .segment_bytes = 1448};
    EXPECT_EQ(send_with(header, large), Sent::kDone);
    const auto got = heard();
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0], large);
    EXPECT_TRUE(has_right_checksum(got[0]));
  }
}

TEST_F(StreamSockets, TheLargestAreCut) {
  const Bytes large = tcp_frame(kEnds4, {.from_port = 1, .to_port = 2, .payload = pattern(65'535 - 40)});
  ASSERT_GT(large.size(), StreamSocketEnd::kMostSentBytes);
  EXPECT_EQ(
      send_with({.flags = PacketHeader::kNeedsChecksum, .segments = PacketHeader::kTcp4, .segment_bytes = 1},
                large),
      Sent::kDone);
  Bytes payload;
  const auto got = heard();
  EXPECT_EQ(got.size(), 2U);
  for (const Bytes& frame : got) {
    EXPECT_TRUE(has_right_checksum(frame));
    payload += parse_tcp(frame)->segment.payload;
  }
  EXPECT_EQ(payload, pattern(65'535 - 40));
  EXPECT_EQ(device_->send(frame_with(65'530)), Sent::kDropped) << "no TCP, and longer than passt takes";
}

TEST_F(StreamSockets, WhatIsNoTcpIsNotSentAsLarge) {
  EXPECT_EQ(
      send_with({.flags = PacketHeader::kNeedsChecksum, .segments = PacketHeader::kTcp4, .segment_bytes = 9},
                frame_with(5000)),
      Sent::kDropped);
  EXPECT_EQ(send_with({.flags = PacketHeader::kNeedsChecksum, .checksum_start = 5000}, frame_with(50)),
            Sent::kDropped);
  EXPECT_TRUE(heard().empty());
  EXPECT_EQ(device_->send(frame_with(20)), Sent::kDone);
  EXPECT_EQ(heard(), std::vector<Bytes>{frame_with(20)});
}

TEST_F(StreamSockets, SegmentsBecomeOnePacketForWhoTakesSuch) {
  end_->set_use(1, {.checksum = true, .tcp4 = true});
  Bytes bytes;
  for (uint32_t i = 0; i < 8; ++i) {
    bytes += with_length(tcp_frame(kEnds4, {.from_port = 1,
                                            .to_port = 2,
                                            .sequence = i * 1000,
                                            .payload = pattern(1000, i * 1000),
                                            .id = static_cast<uint16_t>(i)}));
  }
  say(bytes);
  turn();
  ASSERT_EQ(device_->received.size(), 1U);
  EXPECT_EQ(device_->received[0].size(), 54U + 8000);
}

}  // namespace
}  // namespace vmm::net
