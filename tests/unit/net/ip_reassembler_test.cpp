// Fragments of IPv4.
#include "vmm/net/ip_reassembler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/unit/net/frames.h"
#include "vmm/net/checksum.h"

namespace vmm::net {
namespace {

using namespace std::chrono_literals;

// Bytes `from` to `to` of a packet's payload.
Bytes fragment(const Bytes& payload, size_t from, size_t to, uint16_t id = 7, uint16_t flags = 0) {
  Bytes frame = ip_frame(kEnds4, kIpUdp, std::span(payload).subspan(from, to - from), id);
  const auto more = static_cast<uint16_t>(to < payload.size() ? 0x2000 : 0);
  store_be<uint16_t>(&frame[14 + kIp4FragmentAt], static_cast<uint16_t>(from / 8 | more | flags));
  store_sum(&frame[14 + kIp4ChecksumAt], 0);
  store_sum(&frame[14 + kIp4ChecksumAt],
            static_cast<uint16_t>(~sum_words(std::span(frame).subspan(14, kIp4HeaderBytes))));
  return frame;
}

class Fragments : public testing::Test {
 protected:
  Bytes add(const Bytes& frame) {
    EXPECT_TRUE(IpReassembler::is_fragment(frame));
    const auto whole = reassembler_.add(frame, now_);
    return {whole.begin(), whole.end()};
  }
  // Whether the rest of a packet of which there is something makes it a whole one.
  bool is_still_there(const Bytes& payload, size_t from, uint16_t id) {
    return !add(fragment(payload, from, payload.size(), id)).empty();
  }

  IpReassembler reassembler_;
  IpReassembler::Duration now_ = 1h;
  const Bytes payload_ = pattern(3000);
};

TEST_F(Fragments, BecomeTheWholePacketInAnyOrder) {
  std::vector<std::pair<size_t, size_t>> places = {{0, 800}, {800, 1600}, {1600, 2400}, {2400, 3000}};
  const Bytes whole = ip_frame(kEnds4, kIpUdp, payload_, 7);
  EXPECT_FALSE(IpReassembler::is_fragment(whole));
  do {
    for (size_t i = 0; i < places.size(); ++i) {
      const Bytes added = add(fragment(payload_, places[i].first, places[i].second));
      EXPECT_EQ(added, i + 1 < places.size() ? Bytes() : whole);
    }
  } while (std::ranges::next_permutation(places).found);
}

TEST_F(Fragments, OfSeveralPacketsAreToldApart) {
  const Bytes other = pattern(3000, 1);
  EXPECT_TRUE(add(fragment(payload_, 0, 800, 1)).empty());
  EXPECT_TRUE(add(fragment(other, 0, 800, 2)).empty());
  EXPECT_EQ(add(fragment(payload_, 800, 3000, 1)), ip_frame(kEnds4, kIpUdp, payload_, 1));
  EXPECT_EQ(add(fragment(other, 800, 3000, 2)), ip_frame(kEnds4, kIpUdp, other, 2));
}

TEST_F(Fragments, MayComeTwice) {
  EXPECT_TRUE(add(fragment(payload_, 0, 800)).empty());
  EXPECT_TRUE(add(fragment(payload_, 0, 800)).empty());
  EXPECT_FALSE(add(fragment(payload_, 800, 3000)).empty());
}

TEST_F(Fragments, ThatOverlapEndTheirPacket) {
  for (const auto& [from, to] : {std::pair<size_t, size_t>{400, 1200}, {0, 1600}, {1000, 2000}}) {
    EXPECT_TRUE(add(fragment(payload_, 0, 800)).empty());
    EXPECT_TRUE(add(fragment(payload_, 1600, 2400)).empty());
    EXPECT_TRUE(add(fragment(payload_, from, to)).empty());
    EXPECT_TRUE(add(fragment(payload_, 800, 1600)).empty());
    EXPECT_TRUE(add(fragment(payload_, 2400, 3000)).empty()) << from;
    now_ += 1min;
  }
  // The same place with something else in it.
  EXPECT_TRUE(add(fragment(payload_, 0, 800)).empty());
  EXPECT_TRUE(add(fragment(pattern(3000, 1), 0, 800)).empty());
  EXPECT_FALSE(is_still_there(payload_, 800, 7));
}

TEST_F(Fragments, BehindTheEndAreWrong) {
  EXPECT_TRUE(add(fragment(payload_, 2400, 3000)).empty());
  EXPECT_TRUE(add(fragment(pattern(5000), 3200, 4000)).empty());
  EXPECT_TRUE(add(fragment(payload_, 0, 2400)).empty());
  now_ += 1min;
  EXPECT_TRUE(add(fragment(pattern(5000), 3200, 4000)).empty());
  EXPECT_TRUE(add(fragment(payload_, 2400, 3000)).empty());
  EXPECT_TRUE(add(fragment(payload_, 0, 2400)).empty());
}

TEST_F(Fragments, WithMistakesAreDropped) {
  EXPECT_TRUE(add(fragment(payload_, 0, 800)).empty());
  EXPECT_TRUE(add(fragment(payload_, 800, 1601)).empty());              // not a multiple of 8
  EXPECT_TRUE(add(fragment(payload_, 800, 800)).empty());               // nothing
  EXPECT_TRUE(add(fragment(payload_, 800, 3000, 7, 0x8000)).empty());   // the reserved flag
  EXPECT_TRUE(add(fragment(pattern(65'535), 64'000, 65'535)).empty());  // longer than IP may be
  Bytes spoiled = fragment(payload_, 800, 3000);
  spoiled[14 + kIp4ChecksumAt] ^= std::byte{1};
  EXPECT_TRUE(add(spoiled).empty());
  Bytes cut_off = fragment(payload_, 800, 3000);
  cut_off.pop_back();
  EXPECT_TRUE(add(cut_off).empty());
  EXPECT_TRUE(is_still_there(payload_, 800, 7));
}

TEST_F(Fragments, MayBePadded) {
  Bytes padded = fragment(payload_, 0, 8);
  padded.resize(60);
  EXPECT_TRUE(add(padded).empty());
  EXPECT_EQ(add(fragment(payload_, 8, 3000)), ip_frame(kEnds4, kIpUdp, payload_, 7));
}

TEST_F(Fragments, WaitForTheirTimeOnly) {
  EXPECT_TRUE(add(fragment(payload_, 0, 800)).empty());
  now_ += IpReassembler::kTimeout - 1ns;
  EXPECT_TRUE(add(fragment(payload_, 800, 1600)).empty());
  now_ += 1ns;
  EXPECT_FALSE(is_still_there(payload_, 1600, 7));
}

TEST_F(Fragments, MakeRoomForNewerOnes) {
  for (uint16_t id = 0; id < IpReassembler::kMostPackets + 1; ++id) {
    EXPECT_TRUE(add(fragment(payload_, 0, 800, id)).empty());
  }
  EXPECT_TRUE(is_still_there(payload_, 800, 1));
  EXPECT_TRUE(is_still_there(payload_, 800, IpReassembler::kMostPackets));
  EXPECT_FALSE(is_still_there(payload_, 800, 0));
}

TEST_F(Fragments, LeaveFewGaps) {
  const Bytes payload = pattern(4096);
  for (size_t i = 0; i <= IpReassembler::kMostGaps; ++i) {
    EXPECT_TRUE(add(fragment(payload, 16 * i, 16 * i + 8)).empty());
  }
  for (size_t i = 0; i <= IpReassembler::kMostGaps; ++i) {
    EXPECT_TRUE(add(fragment(payload, 16 * i + 8, 16 * i + 16)).empty());
  }
  EXPECT_FALSE(is_still_there(payload, 16 * (IpReassembler::kMostGaps + 1), 7));
}

TEST_F(Fragments, AtRandomDoNoHarm) {
  std::mt19937 random(6);
  size_t complete = 0;
  const Bytes payload = pattern(512);
  for (int i = 0; i < 100'000; ++i) {
    const size_t from = 128 * (random() % 4);
    const size_t to = std::min<size_t>(512, from + (random() % 8 != 0 ? 128 : 8 * (1 + random() % 32)));
    const Bytes whole =
        to - from < 512 ? add(fragment(payload, from, to, static_cast<uint16_t>(random() % 20))) : Bytes();
    if (!whole.empty()) {
      ++complete;
      EXPECT_EQ(parse_ip(whole)->payload.size(), 512U);
      EXPECT_TRUE(std::ranges::equal(parse_ip(whole)->payload, payload));
    }
  }
  EXPECT_GT(complete, 100U);
}

}  // namespace
}  // namespace vmm::net
