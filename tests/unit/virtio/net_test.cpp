// What the guest sends arrives as it was sent, and what comes for it lies in its buffers, whatever these look
// like.
#include "devices/virtio/net.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "devices/virtio/net_features.h"
#include "tests/unit/fakes/fake_net_end.h"
#include "tests/unit/virtio/small_device_rig.h"

namespace vmm::virtio {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kSendData = 0x20'0000;
constexpr uint64_t kReceiveData = 0x40'0000;
constexpr uint64_t kControlData = 0x70'0000;
constexpr MacAddress kMac = {0x52, 0x54, 0, 1, 2, 3};
constexpr uint64_t kAll =
    kVersion1 | feature_mask(net::kMac) | feature_mask(net::kStatus) | feature_mask(net::kControlQueue) |
    feature_mask(net::kControlReceive) | feature_mask(net::kControlReceiveExtra) |
    feature_mask(net::kControlVlan) | feature_mask(net::kControlMac) | feature_mask(net::kMergeableBuffers) |
    feature_mask(net::kHostChecksum) | feature_mask(net::kHostTcp4) | feature_mask(net::kGuestChecksum) |
    feature_mask(net::kGuestTcp4) | feature_mask(net::kControlGuestOffloads);
constexpr uint64_t kPlain = kVersion1 | feature_mask(net::kMac);

std::vector<std::byte> frame_to(const MacAddress& to, size_t bytes, uint8_t seed = 7) {
  std::vector<std::byte> frame(bytes);
  for (size_t i = 0; i < bytes; ++i) {
    frame[i] = i < to.size() ? std::byte{to[i]} : static_cast<std::byte>(seed + i * 31);
  }
  return frame;
}

struct NetRig {
  explicit NetRig(uint16_t pairs = 1, VirtioNet::Options options = {.mac = kMac})
      : end(pairs), device(end, std::move(options)) {}

  // The frame behind its header, in pieces of so many bytes.
  void send(const std::vector<std::byte>& frame, const PacketHeader& header = {},
            size_t piece_bytes = 1 << 20, uint16_t queue = 1) {
    const PacketHeaderBytes bytes = header.bytes();
    std::vector<std::byte> packet(bytes.begin(), bytes.end());
    packet.insert(packet.end(), frame.begin(), frame.end());
    send_raw(packet, piece_bytes, queue);
  }
  void send_raw(const std::vector<std::byte>& packet, size_t piece_bytes = 1 << 20, uint16_t queue = 1) {
    VMM_CHECK(guest.memory.write_bytes(GuestAddress(kSendData), packet), "not in test memory");
    std::vector<FakeBuffer> buffers;
    for (size_t at = 0; at < packet.size(); at += piece_bytes) {
      buffers.push_back(
          {kSendData + at, static_cast<uint32_t>(std::min(piece_bytes, packet.size() - at)), false});
    }
    guest.queues[queue].add(0, buffers);
    guest.kick(queue);
  }
  bool is_sent(uint16_t queue = 1) { return guest.queues[queue].take_used().has_value(); }

  static uint64_t place(uint16_t head) { return kReceiveData + uint64_t{0x4000} * head; }
  void offer(uint16_t head, uint32_t bytes, uint16_t queue = 0) {
    guest.queues[queue].add(head, {{place(head), bytes, true}});
    guest.kick(queue);
  }
  void come(const std::vector<std::byte>& frame, const PacketHeader& header = {}) {
    end.put(frame, 0, header);
    tell();
  }
  void tell() {
    end.tell();
    guest.turn();
  }
  struct Got {
    uint16_t buffers = 0;
    std::vector<std::byte> frame;
  };
  // The next packet that the driver finds.
  std::optional<Got> got(uint16_t queue = 0) {
    Got packet;
    std::vector<std::byte> bytes;
    for (uint16_t left = 1; left > 0; --left) {
      const auto used = guest.queues[queue].take_used();
      if (!used) {
        return std::nullopt;
      }
      std::vector<std::byte> part(used->length);
      VMM_CHECK(guest.memory.read_bytes(GuestAddress(place(static_cast<uint16_t>(used->id))), part),
                "not in test memory");
      if (bytes.empty()) {
        packet.buffers = left = load_le<uint16_t>(&part[10]);
      }
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    packet.frame.assign(bytes.begin() + kPacketHeaderBytes, bytes.end());
    return packet;
  }

  // 0 or 1, as the device answers; 2: not at all.
  int control(uint16_t queue, uint8_t kind, uint8_t command, const std::vector<uint8_t>& data) {
    std::vector<std::byte> bytes{std::byte{kind}, std::byte{command}};
    std::ranges::transform(data, std::back_inserter(bytes), [](uint8_t byte) { return std::byte{byte}; });
    VMM_CHECK(guest.memory.write_bytes(GuestAddress(kControlData), bytes), "not in test memory");
    guest.queues[queue].add(0, {{kControlData, 2, false},
                                {kControlData + 2, static_cast<uint32_t>(data.size()), false},
                                {kControlData + 0x8000, 1, true}});
    guest.kick(queue);
    return guest.queues[queue].take_used() ? guest.bytes(kControlData + 0x8000, 1).front() : 2;
  }

  std::unique_ptr<EventLoop> loop = *EventLoop::create();
  FakeNetEnd end;
  VirtioNet device;
  SmallDeviceRig guest{device, Transport::kPci, *loop};
};

TEST(VirtioNetTest, OffersWhatTheEndCan) {
  FakeNetEnd end;
  end.offloads = {};
  const VirtioNet plain(end, {.mac = kMac});
  EXPECT_EQ(plain.features() & (feature_mask(net::kHostChecksum) | feature_mask(net::kGuestTcp4) |
                                feature_mask(net::kMultiqueue) | feature_mask(net::kMtu)),
            0U);
  FakeNetEnd more(2);
  const VirtioNet device(more, {.mac = kMac, .mtu = 9000, .host = {.checksum = true}});
  EXPECT_NE(device.features() & feature_mask(net::kMultiqueue), 0U);
  EXPECT_NE(device.features() & feature_mask(net::kMtu), 0U);
  EXPECT_NE(device.features() & feature_mask(net::kHostChecksum), 0U);
  EXPECT_EQ(device.features() & feature_mask(net::kHostTcp4), 0U);
  EXPECT_NE(device.features() & feature_mask(net::kGuestTcp4), 0U);
  EXPECT_EQ(device.queue_count(), 5);
}

TEST(VirtioNetTest, ItsConfigurationIsThereToBeRead) {
  NetRig rig(2, {.mac = kMac, .mtu = 1400});
  EXPECT_EQ(rig.guest.driver->config32(0), 0x01'00'54'52U);
  EXPECT_EQ(rig.guest.driver->config32(4), 0x0001'0302U);
  EXPECT_EQ(rig.guest.driver->config32(8), (1400U << 16U) | 2U);
  rig.device.set_link(false);
  EXPECT_EQ(rig.guest.driver->config32(4), 0x0302U);
}

TEST(VirtioNetTest, SendsFramesHoweverTheyAreCut) {
  NetRig rig;
  rig.guest.start(kAll);
  size_t sent = 0;
  for (const size_t piece : {1U, 5U, 12U, 13U, 100U, 4096U}) {
    const auto frame = frame_to(kMac, piece < 12 ? 100 : 1514, static_cast<uint8_t>(piece));
    rig.send(frame, {}, piece);
    ASSERT_TRUE(rig.is_sent()) << piece;
    ASSERT_EQ(rig.end.sent.size(), ++sent);
    EXPECT_TRUE(rig.end.sent.back().frame == frame) << piece;
  }
  EXPECT_TRUE(rig.end.is_length_right);
  EXPECT_EQ(rig.device.counters().values().sent.packets, sent);
}

TEST(VirtioNetTest, PassesOnWhatIsLeftToDo) {
  NetRig rig;
  rig.guest.start(kAll);
  rig.send(frame_to(kMac, 30'000), {.flags = PacketHeader::kNeedsChecksum,
                                    .segments = PacketHeader::kTcp4,
                                    .header_bytes = 54,
                                    .segment_bytes = 1460,
                                    .checksum_start = 34,
                                    .checksum_offset = 16});
  ASSERT_EQ(rig.end.sent.size(), 1U);
  const PacketHeader& header = rig.end.sent[0].header;
  EXPECT_EQ(header.segments, PacketHeader::kTcp4);
  EXPECT_EQ(header.segment_bytes, 1460);
  EXPECT_EQ(header.checksum_start, 34);
  EXPECT_EQ(header.checksum_offset, 16);
}

TEST(VirtioNetTest, SendsNothingThatCannotBe) {
  NetRig rig;
  rig.guest.start(kAll);
  const PacketHeader good{.flags = PacketHeader::kNeedsChecksum,
                          .segments = PacketHeader::kTcp4,
                          .header_bytes = 54,
                          .segment_bytes = 1460,
                          .checksum_start = 34,
                          .checksum_offset = 16};
  std::vector<PacketHeader> bad(7, good);
  bad[0].checksum_start = 0xffff;
  bad[1].checksum_offset = 0xffff;
  bad[2].segment_bytes = 0;
  bad[3].flags = 0;
  bad[4].segments = PacketHeader::kTcp6;  // not negotiated
  bad[5].segments = PacketHeader::kUdp;
  bad[6].segments = PacketHeader::kTcp4 | PacketHeader::kHasEcn;
  for (const PacketHeader& header : bad) {
    rig.send(frame_to(kMac, 3000), header);
    EXPECT_TRUE(rig.is_sent());
  }
  for (const size_t length : {0U, 1U, 11U, 12U, 25U}) {  // shorter than a header and a frame's own
    rig.send_raw(std::vector<std::byte>(std::max<size_t>(length, 1)));
    EXPECT_TRUE(rig.is_sent());
  }
  rig.send_raw(std::vector<std::byte>(kMaxPacketBytes + 1));
  EXPECT_TRUE(rig.is_sent());
  EXPECT_TRUE(rig.end.sent.empty());
  EXPECT_EQ(rig.device.counters().values().sent_errors, bad.size() + 6);
  rig.send(frame_to(kMac, 60));
  EXPECT_EQ(rig.end.sent.size(), 1U);
}

TEST(VirtioNetTest, APacketWaitsForRoomAtTheHost) {
  NetRig rig;
  rig.guest.start(kAll);
  rig.end.is_full = true;
  rig.send(frame_to(kMac, 60));
  EXPECT_FALSE(rig.is_sent());
  rig.end.make_room();
  rig.guest.turn();
  EXPECT_TRUE(rig.is_sent());
  EXPECT_EQ(rig.end.sent.size(), 1U);
}

TEST(VirtioNetTest, ReceivesIntoOneBuffer) {
  for (const uint64_t features : {kPlain, kAll}) {
    NetRig rig;
    rig.guest.start(features);
    rig.offer(0, 0x4000);
    rig.offer(1, 0x4000);
    rig.offer(2, 0x4000);
    for (const size_t bytes : {14U, 17U, 60U, 1514U}) {
      rig.come(frame_to(kMac, bytes));
      const auto got = rig.got();
      if (features == kPlain && bytes == 1514) {
        EXPECT_FALSE(got) << "three buffers are used up";
        continue;
      }
      if (features == kAll) {  // it waits until there is room for the longest
        continue;
      }
      ASSERT_TRUE(got) << bytes;
      EXPECT_EQ(got->buffers, 1);
      EXPECT_TRUE(got->frame == frame_to(kMac, bytes));
    }
  }
}

TEST(VirtioNetTest, ALongPacketIsSpreadOverBuffers) {
  NetRig rig;
  rig.guest.start(kAll);
  for (uint16_t head = 0; head < 60; ++head) {
    rig.offer(head, head % 3 == 0 ? 700 : 1526);
  }
  for (const size_t bytes : {60U, 600U, 5000U, 30'000U}) {
    const auto frame = frame_to(kMac, bytes, static_cast<uint8_t>(bytes));
    rig.come(frame, {.flags = PacketHeader::kChecksumIsValid});
    const auto got = rig.got();
    ASSERT_TRUE(got) << bytes;
    EXPECT_TRUE(got->frame == frame) << bytes;
    EXPECT_EQ(got->buffers > 1, bytes >= 5000) << bytes;
  }
  EXPECT_EQ(rig.device.counters().values().received.packets, 4U);
}

TEST(VirtioNetTest, BuffersOfABytesLengthDoToo) {
  NetRig rig;
  rig.guest.start(kAll);
  for (uint16_t head = 0; head < 250; ++head) {
    rig.offer(head, static_cast<uint32_t>(kPacketHeaderBytes + head % 5));
  }
  const auto frame = frame_to(kMac, 1000);
  rig.come(frame);
  const auto got = rig.got();
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->frame == frame);
}

TEST(VirtioNetTest, APacketWaitsUntilTheGuestHasRoom) {
  NetRig rig;
  rig.guest.start(kAll);
  const auto frame = frame_to(kMac, 9000);
  rig.offer(0, 1526);
  rig.come(frame);
  EXPECT_FALSE(rig.got());
  EXPECT_FALSE(rig.end.wanted[0]) << "no others are wanted meanwhile";
  for (uint16_t head = 1; head < 10; ++head) {
    rig.offer(head, 1526);
    rig.end.put(frame_to(kMac, 60));
    rig.tell();
  }
  const auto got = rig.got();
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->frame == frame);
}

TEST(VirtioNetTest, APacketThatNeverFitsIsDropped) {
  NetRig rig;
  rig.guest.start(kPlain);
  rig.offer(0, 100);
  rig.end.put(frame_to(kMac, 200));
  rig.end.put(frame_to(kMac, 80));
  rig.tell();
  rig.tell();
  const auto got = rig.got();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->frame.size(), 80U);
  EXPECT_EQ(rig.device.counters().values().received.dropped, 1U);
}

TEST(VirtioNetTest, FiltersAsTheDriverSays) {
  constexpr MacAddress kOther = {0x52, 0x54, 0, 9, 9, 9};
  constexpr MacAddress kGroup = {0x33, 0x33, 0, 0, 0, 1};
  constexpr MacAddress kEverybody = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  NetRig rig;
  rig.guest.start(kAll);
  for (uint16_t head = 0; head < 60; ++head) {
    rig.offer(head, 1526);
  }
  const auto is_got = [&](const MacAddress& to) {
    rig.come(frame_to(to, 60));
    return rig.got().has_value();
  };
  EXPECT_TRUE(is_got(kOther)) << "nothing is filtered before the driver says so";
  ASSERT_EQ(rig.control(2, 0, 0, {0}), 0);  // not promiscuous
  EXPECT_TRUE(is_got(kMac));
  EXPECT_TRUE(is_got(kEverybody));
  EXPECT_FALSE(is_got(kOther));
  EXPECT_FALSE(is_got(kGroup));
  std::vector<uint8_t> table{1, 0, 0, 0};
  table.insert(table.end(), kOther.begin(), kOther.end());
  table.insert(table.end(), {1, 0, 0, 0});
  table.insert(table.end(), kGroup.begin(), kGroup.end());
  ASSERT_EQ(rig.control(2, 1, 0, table), 0);
  EXPECT_TRUE(is_got(kOther));
  EXPECT_TRUE(is_got(kGroup));
  ASSERT_EQ(rig.control(2, 1, 1, {kOther.begin(), kOther.end()}), 0);  // its own address
  EXPECT_EQ(rig.device.filter().own(), kOther);
  EXPECT_FALSE(is_got(kMac));
  ASSERT_EQ(rig.control(2, 0, 5, {1}), 0);
  EXPECT_FALSE(is_got(kEverybody));
  ASSERT_EQ(rig.control(2, 0, 3, {1}), 0);
  EXPECT_FALSE(is_got(kGroup));

  auto tagged = frame_to(kOther, 60);
  store_be<uint16_t>(&tagged[12], 0x8100);
  store_be<uint16_t>(&tagged[14], 0x2000 | 42);
  rig.come(tagged);
  EXPECT_FALSE(rig.got());
  ASSERT_EQ(rig.control(2, 2, 0, {42, 0}), 0);
  rig.come(tagged);
  EXPECT_TRUE(rig.got());
  ASSERT_EQ(rig.control(2, 2, 1, {42, 0}), 0);
  rig.come(tagged);
  EXPECT_FALSE(rig.got());
}

TEST(VirtioNetTest, AChangeOfTheFilterIsToldOfOnceUntilItIsWatchedAgain) {
  int told = 0;
  NetRig rig(1, {.mac = kMac, .on_filter_change = [&told] { ++told; }});
  rig.guest.start(kAll);
  EXPECT_EQ(rig.control(2, 0, 6, {1}), 1);  // nothing has changed
  EXPECT_EQ(rig.control(2, 5, 0, {2, 0, 0, 0, 0, 0, 0, 0}), 0);
  EXPECT_EQ(told, 0);
  ASSERT_EQ(rig.control(2, 0, 0, {0}), 0);
  ASSERT_EQ(rig.control(2, 0, 0, {1}), 0);
  EXPECT_EQ(told, 1);
  rig.device.watch_filter();
  EXPECT_EQ(told, 1);
  ASSERT_EQ(rig.control(2, 2, 0, {42, 0}), 0);
  EXPECT_EQ(told, 2);
  rig.device.watch_filter();
  ASSERT_EQ(rig.control(2, 1, 1, {kMac.begin(), kMac.end()}), 0);
  EXPECT_EQ(told, 3);
}

TEST(VirtioNetTest, CountsPacketsAndBytesOnTheirWay) {
  NetRig rig;
  rig.guest.start(kPlain | feature_mask(net::kControlQueue) | feature_mask(net::kControlReceive));
  for (uint16_t head = 0; head < 10; ++head) {
    rig.offer(head, 1526);
  }
  rig.send(frame_to(kMac, 60));
  rig.send(frame_to(kMac, 1514));
  rig.end.drops = true;
  rig.send(frame_to(kMac, 100));
  rig.end.is_full = true;
  rig.send(frame_to(kMac, 1000));  // it waits
  NetCounters::Values counted = rig.device.counters().values();
  EXPECT_EQ(counted.sent.packets, 2U);
  EXPECT_EQ(counted.sent.bytes, 1574U);
  EXPECT_EQ(counted.sent.dropped, 1U);

  rig.come(frame_to(kMac, 100));
  rig.come(frame_to(kMac, 200));
  ASSERT_EQ(rig.control(2, 0, 0, {0}), 0);  // not promiscuous
  rig.come(frame_to({2, 0, 0, 0, 0, 1}, 100));
  counted = rig.device.counters().values();
  EXPECT_EQ(counted.received.packets, 2U);
  EXPECT_EQ(counted.received.bytes, 300U);
  EXPECT_EQ(counted.received.dropped, 0U);
  EXPECT_EQ(counted.received_filtered, 1U);
  rig.guest.restart();
  EXPECT_EQ(rig.device.counters().values().sent.dropped, 2U) << "what waited is gone";
  EXPECT_EQ(rig.device.counters().values().sent_errors, 0U);
}

TEST(VirtioNetTest, CommandsThatCannotBeAreRefused) {
  NetRig rig;
  rig.guest.start(kAll);
  EXPECT_EQ(rig.control(2, 0, 6, {1}), 1);
  EXPECT_EQ(rig.control(2, 0, 0, {}), 1);
  EXPECT_EQ(rig.control(2, 9, 0, {1}), 1);
  EXPECT_EQ(rig.control(2, 1, 0, {255, 255, 255, 255}), 1);
  EXPECT_EQ(rig.control(2, 1, 1, {1, 2, 3}), 1);
  EXPECT_EQ(rig.control(2, 2, 0, {0, 0x10}), 1) << "there are 4096";
  EXPECT_EQ(rig.control(2, 4, 0, {1, 0}), 1) << "no multiqueue";
  EXPECT_EQ(rig.control(2, 5, 0, {0, 0, 0, 0xff, 0, 0, 0, 0}), 1);
}

TEST(VirtioNetTest, AListThatIsTooLongIsNoList) {
  NetRig rig;
  rig.guest.start(kAll);
  constexpr uint8_t kMany = 100;
  std::vector<uint8_t> table{kMany, 0, 0, 0};
  table.resize(4 + 6 * kMany, 2);
  table.insert(table.end(), {0, 0, 0, 0});
  ASSERT_EQ(rig.control(2, 1, 0, table), 0);
  EXPECT_TRUE(rig.device.filter().unicast.has_overflown);
  EXPECT_TRUE(rig.device.filter().unicast.addresses.empty());
}

TEST(VirtioNetTest, OffloadsCanBeTakenBack) {
  NetRig rig;
  rig.guest.start(kAll);
  EXPECT_TRUE(rig.end.given.tcp4);
  EXPECT_FALSE(rig.end.given.tcp6);
  EXPECT_EQ(rig.control(2, 5, 0, {2, 0, 0, 0, 0, 0, 0, 0}), 0);
  EXPECT_EQ(rig.end.given, (PacketOffloads{.checksum = true}));
}

TEST(VirtioNetTest, SeveralPairsAreUsedWhenTheDriverSaysSo) {
  NetRig rig(4);
  rig.guest.start(kAll | feature_mask(net::kMultiqueue));
  EXPECT_EQ(rig.end.pairs_used, 1);
  EXPECT_EQ(rig.control(8, 4, 0, {3, 0}), 0);
  EXPECT_EQ(rig.end.pairs_used, 3);
  EXPECT_EQ(rig.control(8, 4, 0, {5, 0}), 1);
  EXPECT_EQ(rig.control(8, 4, 0, {0, 0}), 1);
  rig.send(frame_to(kMac, 60), {}, 1 << 20, 5);
  ASSERT_EQ(rig.end.sent.size(), 1U);
  EXPECT_EQ(rig.end.sent[0].pair, 2);
}

TEST(VirtioNetTest, ADriverOfOnePairHasItsControlQueueBehindThat) {
  NetRig rig(4);
  rig.guest.start(kAll);
  EXPECT_EQ(rig.control(2, 0, 0, {0}), 0);
  EXPECT_FALSE(rig.device.filter().is_promiscuous);
}

TEST(VirtioNetTest, BuffersAreTheDriversAgainWhileItIsHeld) {
  NetRig rig;
  rig.guest.start(kPlain);
  rig.offer(0, 0x4000);
  rig.offer(1, 0x4000);
  bool is_quiet = false;
  rig.guest.core().quiesce([&] { is_quiet = true; });
  rig.guest.turn();
  EXPECT_TRUE(is_quiet);
  EXPECT_FALSE(rig.end.wanted[0]);
  EXPECT_EQ(rig.guest.core().runner_state().queues[0].next_available, 0);
  rig.come(frame_to(kMac, 60));
  EXPECT_FALSE(rig.got());
  rig.guest.core().resume();
  rig.guest.turn();
  rig.tell();
  EXPECT_TRUE(rig.got());
}

TEST(VirtioNetTest, APacketThatWaitsToBeSentIsSentAfterAPause) {
  NetRig rig;
  rig.guest.start(kAll);
  rig.end.is_full = true;
  rig.send(frame_to(kMac, 60));
  bool is_quiet = false;
  rig.guest.core().quiesce([&] { is_quiet = true; });
  rig.guest.turn();
  EXPECT_TRUE(is_quiet);
  rig.end.make_room();
  EXPECT_TRUE(rig.end.sent.empty());
  rig.guest.core().resume();
  rig.guest.turn();
  EXPECT_TRUE(rig.is_sent());
  EXPECT_EQ(rig.end.sent.size(), 1U);
}

TEST(VirtioNetTest, AResetForgetsAll) {
  NetRig rig;
  rig.guest.start(kAll);
  ASSERT_EQ(rig.control(2, 0, 0, {0}), 0);
  rig.offer(0, 1526);
  rig.come(frame_to(kMac, 9000));
  rig.end.is_full = true;
  rig.send(frame_to(kMac, 60));
  rig.guest.restart();
  EXPECT_EQ(rig.end.pairs_used, 1);
  EXPECT_TRUE(rig.device.filter().is_promiscuous);
  EXPECT_TRUE(rig.end.sent.empty());
  rig.offer(0, 0x4000);
  rig.come(frame_to(kMac, 60));
  const auto got = rig.got();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->frame.size(), 60U);
}

TEST(VirtioNetTest, NothingPassesALinkThatIsDown) {
  NetRig rig;
  rig.guest.start(kPlain);
  rig.offer(0, 0x4000);
  rig.device.set_link(false);
  rig.send(frame_to(kMac, 60));
  EXPECT_TRUE(rig.is_sent());
  EXPECT_TRUE(rig.end.sent.empty());
  rig.come(frame_to(kMac, 60));
  EXPECT_FALSE(rig.got());
  EXPECT_TRUE(rig.end.waiting[0].empty()) << "it is gone";
  EXPECT_EQ(rig.device.counters().values().sent.dropped, 1U);
  EXPECT_EQ(rig.device.counters().values().sent.packets, 0U);
  EXPECT_EQ(rig.device.counters().values().received.dropped, 1U);
  rig.device.set_link(true);
  rig.come(frame_to(kMac, 60));
  EXPECT_TRUE(rig.got());
}

TEST(VirtioNetTest, ChainsOfNonsenseComeBack) {
  NetRig rig;
  rig.guest.start(kAll);
  rig.guest.queues[0].add(0, {{kReceiveData, 100, false}});        // nothing to write to
  rig.guest.queues[0].add(1, {{kReceiveData, 11, true}});          // shorter than a header
  rig.guest.queues[0].add(2, {{0xffff'ffff'0000, 0x4000, true}});  // nowhere
  rig.guest.kick(0);
  for (const uint32_t head : {0U, 1U, 2U}) {
    EXPECT_EQ(rig.guest.queues[0].take_used(), (FakeVirtqueue::Used{.id = head, .length = 0}));
  }
  rig.guest.queues[1].add(0, {{kSendData, 100, true}});
  rig.guest.queues[1].add(1, {{0xffff'ffff'0000, 0x4000, false}});
  rig.guest.kick(1);
  EXPECT_TRUE(rig.is_sent());
  EXPECT_TRUE(rig.is_sent());
  EXPECT_EQ(rig.device.counters().values().sent_errors, 2U);
  rig.guest.queues[2].add(0, {{kControlData, 2, false}});  // no place for an answer
  rig.guest.kick(2);
  EXPECT_FALSE(rig.guest.queues[2].take_used());
  EXPECT_NE(rig.guest.driver->status() & kStatusNeedsReset, 0);
}

}  // namespace
}  // namespace vmm::virtio
